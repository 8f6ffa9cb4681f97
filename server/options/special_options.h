// The options whose values have a grammar of their own, and checks that go beyond a type.
#pragma once

#include <span>
#include <string>

#include "server/options/option_row.h"

namespace firn::server {

Status ParseBind(std::span<const std::string> words, OptionValue& value);
// "normal HARD SOFT SECONDS ..." with any of the classes normal, replica (slave) and pubsub; the
// classes that are not named keep their limits.
Status ParseOutputBufferLimits(std::span<const std::string> words, OptionValue& value);
// "SECONDS CHANGES ..." ; a single empty word means no rules.
Status ParseSaveRules(std::span<const std::string> words, OptionValue& value);
Status ParseOomScoreAdjustments(std::span<const std::string> words, OptionValue& value);
Status ParsePercentiles(std::span<const std::string> words, OptionValue& value);
// One word of letters; kept as its canonical spelling (every class of A becomes "A").
Status ParseKeyspaceEvents(std::span<const std::string> words, OptionValue& value);
// "HOST PORT" or "no one", which is kept as nothing.
Status ParseReplicaOf(std::span<const std::string> words, OptionValue& value);

// REQUIRES: the value was parsed by the function above of the same option.
void StoreOutputBufferLimits(const OptionValue& value, OptionValues& values);
void StoreSaveRules(const OptionValue& value, OptionValues& values);
void StoreOomScoreAdjustment(const OptionValue& value, OptionValues& values);
void StorePercentiles(const OptionValue& value, OptionValues& values);
void StoreKeyspaceEvents(const OptionValue& value, OptionValues& values);

Status CheckShutdownFlags(OptionValue& value);
Status CheckDbFilename(OptionValue& value);
Status CheckAppendFilename(OptionValue& value);
Status CheckAppendDirname(OptionValue& value);
Status CheckProcTitleTemplate(OptionValue& value);
Status ClampBacklog(OptionValue& value);
Status CheckSegmentSize(OptionValue& value);
Status ClampHz(OptionValue& value);

}  // namespace firn::server
