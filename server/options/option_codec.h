// Values between words and OptionValue, by the type of their row.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "server/options/option_row.h"

namespace firn::server {

// Reads and checks the words of a value. `before` is the value in force: some options change only
// what is named. Errors are Redis' texts. Says nothing about whether the value's feature is there.
Result<OptionValue> ParseOption(const OptionRow& row, std::span<const std::string> words,
                                const OptionValue& before);

// The value of a text of ours, such as the row's default_text. REQUIRES: it is valid.
OptionValue ParseOwnText(const OptionRow& row, std::string_view text);

// As CONFIG GET answers it. Reading it back gives the same value.
std::string FormatOption(const OptionRow& row, const OptionValue& value);

// A line of a configuration file that sets the option, or a part of it.
struct FileLine {
  std::string text;
  bool differs;  // from the default
};
// The lines that bring `value` about; none if it can only be had by naming the option nowhere.
std::vector<FileLine> FormatForFile(const OptionRow& row, const OptionValue& value,
                                    const OptionValue& default_value);

// The values the option takes, for people: "yes or no", "0 to 65535", "none, zstd".
std::string DescribeValues(const OptionRow& row);

}  // namespace firn::server
