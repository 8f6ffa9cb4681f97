// RESTORE. A long payload is copied in slices, decoded and made pages by another thread, and these
// are written in slices (sliced_command.h).
#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "engine/keyspace/access_clock.h"
#include "engine/rdb/rdb_reader.h"
#include "server/commands/common.h"
#include "server/commands/dump.h"
#include "server/commands/sliced_command.h"
#include "server/restored_value.h"
#include "server/server.h"
#include "server/value_limits.h"
#include "tiering/collection.h"

namespace firn::server {
namespace {

// What is shorter is restored at once.
constexpr size_t kLongPayload = 128 << 10;
// A slice of copying.
constexpr size_t kCopiedAtOnce = 1 << 20;

constexpr std::string_view kBusyKeyError = "BUSYKEY Target key name already exists.";
constexpr std::string_view kBadPayloadError = "ERR DUMP payload version or checksum are wrong";
constexpr std::string_view kBadFormatError = "ERR Bad data format";

// Collects the one value of a payload.
class PayloadBuilder final : public ElementBuilder {
 public:
  explicit PayloadBuilder(RestoredValue* value) : value_(*value) {}

  Status SelectDb(uint64_t) override { return Unexpected(); }
  Status Function(std::string_view) override { return Unexpected(); }
  Status BeginKey(const RdbKey& key) override {
    value_.Begin(key.type);
    return {};
  }
  Status Stream(const StreamPiece& piece) override {
    value_.Add(piece);
    return {};
  }
  Status EndKey() override {
    return value_.IsDistinct() ? Status() : Status::Corruption("a member or field comes twice");
  }
  Status SkipEmptyKey() override { return Unexpected(); }

 private:
  static Status Unexpected() { return Status::Corruption("this is no single value"); }
  Status Add(const RestoredValue::Element& element) override {
    value_.Add(element);
    return {};
  }
  RestoredValue& value_;
};

struct RestoreRequest {
  bool replace = false;
  bool absolute = false;
  std::optional<int64_t> idle_seconds;
  std::optional<int64_t> frequency;
  int64_t ttl = 0;
};

// The options, which follow the payload; the error if they don't fit.
bool ParseOptionsOr(CommandContext& context, RestoreRequest* request) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = 4; i < args.size(); ++i) {
    const bool more = i + 1 < args.size();
    int64_t number;
    if (EqualsIgnoreCase(args[i], "replace")) {
      request->replace = true;
    } else if (EqualsIgnoreCase(args[i], "absttl")) {
      request->absolute = true;
    } else if (EqualsIgnoreCase(args[i], "idletime") && more && !request->frequency) {
      if (!ParseIntegerOr(context, args[++i], &number)) return false;
      if (number < 0) {
        context.reply.Error("ERR Invalid IDLETIME value, must be >= 0");
        return false;
      }
      request->idle_seconds = number;
    } else if (EqualsIgnoreCase(args[i], "freq") && more && !request->idle_seconds) {
      if (!ParseIntegerOr(context, args[++i], &number)) return false;
      if (number < 0 || number > kLfuMaxCounter) {
        context.reply.Error("ERR Invalid FREQ value, must be >= 0 and <= 255");
        return false;
      }
      request->frequency = number;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

bool ParseTtlOr(CommandContext& context, RestoreRequest* request) {
  if (!ParseIntegerOr(context, context.args[2], &request->ttl)) return false;
  if (request->ttl < 0) {
    context.reply.Error("ERR Invalid TTL value, must be >= 0");
    return false;
  }
  if (request->ttl != 0 && !request->absolute &&
      __builtin_add_overflow(request->ttl, context.now_ms(), &request->ttl)) {
    request->ttl = std::numeric_limits<int64_t>::max();
  }
  return true;
}

// What came of a payload.
struct Decoded {
  bool checked = false;  // its end is right
  Status status;
};
Decoded Decode(std::string_view payload, RdbReader::PayloadOptions options, RestoredValue* value) {
  const std::optional<std::string_view> body = RdbReader::CheckPayload(payload, options);
  if (!body) return {};
  RdbStringSource source(*body);
  PayloadBuilder builder(value);
  return {.checked = true, .status = RdbReader(&source, &builder).ReadValue()};
}

bool CheckDecodedOr(CommandContext& context, const Decoded& decoded) {
  if (!decoded.checked) {
    context.reply.Error(kBadPayloadError);
    return false;
  }
  if (decoded.status.ok()) return true;
  context.server.Log(kLogWarning,
                     "RESTORE: the integrity check failed: " + decoded.status.message());
  context.reply.Error(kBadFormatError);
  return false;
}

void ApplyAccess(CommandContext& context, const HashedKey& key, const RestoreRequest& request) {
  const std::optional<uint32_t> access = RestoredAccess(LfuSelected(context), request.frequency,
                                                        request.idle_seconds, context.now_ms());
  if (access) context.db().SetAccess(key, *access);
}

// Makes the key what `create` makes, with what the request says besides, and answers.
template <typename Create>
void Install(CommandContext& context, const RestoreRequest& request, bool empty, Create create) {
  const HashedKey& key = context.key();
  const bool exists = LookupForWrite(context, key).exists();
  if (exists && !request.replace) return context.reply.Error(kBusyKeyError);
  const bool expired =
      empty || (request.ttl != 0 && request.ttl <= context.store.expiry_clock_ms());
  context.store.BeginGroup();
  if (exists) context.db().Delete(key);
  if (!expired) {
    create();
    if (request.ttl != 0) context.db().SetExpiry(key, request.ttl);
    ApplyAccess(context, key, request);
  }
  context.store.EndGroup();
  if (!expired) {
    context.Modified(key);
    context.Notify('g', "restore", key.bytes);
  } else if (exists) {
    context.Modified(key);
    context.Notify('g', "del", key.bytes);
  }
  context.reply.Ok();
}

class RestoreSlices final : public SlicedCommand {
 public:
  explicit RestoreSlices(const RestoreRequest& request) : request_(request) {}

  void Begin(CommandContext& context) {
    options_.checksum = !context.server.skips_checksums();
    limits_ = ValueLimitsOf(context.server.options().values());
    now_ms_ = context.store.expiry_clock_ms();
    secret_ = Collection(context.db(), context.key(), ValueType::kSet,
                         {.touch = false, .count_hit = false})
                  .secret();
    DecodeAnew(context);
  }

 protected:
  void Step(CommandContext& context) override {
    if (payload_ != nullptr) return Copy(context);
    if (!CheckDecodedOr(context, decoded_)) return;
    if (!context.db().HasBuilt(result_->build())) return DecodeAnew(context);
    if (!WriteOr(context, &*result_)) return;
    RunWithKeys(context, {context.keys.begin(), context.keys.end()},
                [self = Self()](CommandContext& context) { self->End(context); });
  }

 private:
  std::shared_ptr<RestoreSlices> Self() {
    return std::static_pointer_cast<RestoreSlices>(shared_from_this());
  }

  // Nobody else owns the argument's bytes while the client may go.
  void Copy(CommandContext& context) {
    const std::string_view payload = context.args[3];
    const size_t size = std::min(kCopiedAtOnce, payload.size() - copied_);
    std::memcpy(payload_.get() + copied_, payload.data() + copied_, size);
    copied_ += size;
    if (copied_ < payload.size()) return AwaitTurn(context);
    result_.emplace(context.db());
    Compute(context, [this](const std::atomic<bool>* stop) { DecodeAll(stop); });
  }

  void DecodeAnew(CommandContext& context) {
    payload_ = std::make_unique_for_overwrite<char[]>(context.args[3].size());
    copied_ = 0;
    Copy(context);
  }

  // On another thread, which also frees what is large: that takes the kernel milliseconds.
  void DecodeAll(const std::atomic<bool>* stop) {
    decoded_ = Decode({payload_.get(), copied_}, options_, &value_);
    payload_.reset();
    if (!decoded_.checked || !decoded_.status.ok() || stop->load()) {
      value_ = RestoredValue();
      return;
    }
    value_.DropExpired(now_ms_);
    empty_ = value_.count() == 0;
    if (empty_ || value_.type() == ValueType::kString) return;
    value_.CreateIn(&result_->pages(), {.secret = secret_, .now_ms = now_ms_, .limits = limits_});
    type_ = value_.type();
    value_ = RestoredValue();
  }

  // REQUIRES: the key is planned.
  void End(CommandContext& context) {
    if (!context.db().HasBuilt(result_->build())) return DecodeAnew(context);
    Install(context, request_, empty_, [&] {
      if (result_->pages().exists()) return result_->Install(context.db(), context.key(), type_);
      value_.Create(context.db(), context.key(), limits_);
    });
  }

  const RestoreRequest request_;
  RdbReader::PayloadOptions options_;
  ValueLimits limits_;
  HashSecret secret_;
  int64_t now_ms_ = 0;
  std::unique_ptr<char[]> payload_;
  size_t copied_ = 0;
  Decoded decoded_;
  RestoredValue value_;
  ValueType type_ = ValueType::kNone;
  bool empty_ = false;
  std::optional<DetachedValue> result_;
};

}  // namespace

void RestoreCommand(CommandContext& context) {
  RestoreRequest request;
  if (!ParseOptionsOr(context, &request)) return;
  const bool exists = LookupForWrite(context, context.key()).exists();
  if (exists && !request.replace) return context.reply.Error(kBusyKeyError);
  if (!ParseTtlOr(context, &request)) return;
  const std::string_view payload = context.args[3];
  if (payload.size() >= kLongPayload && !RunsAtomically(context)) {
    if (!context.LeavePlace()) return;
    return std::make_shared<RestoreSlices>(request)->Begin(context);
  }
  RestoredValue value;
  const Decoded decoded = Decode(payload, {.checksum = !context.server.skips_checksums()}, &value);
  if (!CheckDecodedOr(context, decoded)) return;
  value.DropExpired(context.store.expiry_clock_ms());
  Install(context, request, value.count() == 0, [&] {
    value.Create(context.db(), context.key(), ValueLimitsOf(context.server.options().values()));
  });
}

}  // namespace firn::server
