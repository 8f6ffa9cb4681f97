// Commands of a pipeline that follow one another and do the same to one key, run as one.
//
// Nobody can tell: they would run one right after the other anyway, and each has its own reply.
// Where somebody could (events, monitors, tracking, blocked clients), they run one by one.

#include "server/command_run.h"
#include "server/commands/bitmaps.h"
#include "server/commands/lists.h"
#include "server/commands/streams.h"
#include "server/commands/strings.h"
#include "server/dispatcher.h"
#include "server/rdb_save.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

// Whoever wants so short a time in the slow log wants to see each command there.
constexpr int64_t kShortMicros = 1000;

struct MergedCommand {
  std::string_view command;
  MergedFunction function;
  size_t fewest_args;
  size_t most_args;
};
constexpr size_t kManyArgs = 32;
constexpr MergedCommand kMergedCommands[] = {
    {"lpush", MergedLPush, 3, kManyArgs}, {"rpush", MergedRPush, 3, kManyArgs},
    {"lpop", MergedLPop, 2, 2},           {"rpop", MergedRPop, 2, 2},
    {"append", MergedAppend, 3, 3},       {"xack", MergedXAck, 4, kManyArgs},
    {"xadd", MergedXAdd, 5, kManyArgs},   {"getbit", MergedGetBit, 3, 3},
    {"setbit", MergedSetBit, 4, 4},
};

}  // namespace

void Dispatcher::FindMerged() {
  merged_.resize(server_.commands().count());
  for (const MergedCommand& each : kMergedCommands) {
    if (const Command* command = server_.commands().FindOriginal(each.command)) {
      merged_[server_.commands().IndexOf(*command)] = {
          .function = each.function, .fewest_args = each.fewest_args, .most_args = each.most_args};
    }
  }
}

size_t Dispatcher::HandleSome(Client* client, std::span<ParsedRequest> requests) {
  const size_t alike = requests[0].runs_alone ? 0 : CountAlike(requests);
  if (alike > 1 && MayMerge(*client)) {
    const auto run = requests.first(alike);
    if (RunMerged(client, run)) return alike;
    for (ParsedRequest& request : run) request.runs_alone = true;
  }
  Handle(client, requests[0]);
  return 1;
}

size_t Dispatcher::CountAlike(std::span<const ParsedRequest> requests) const {
  const ParsedRequest& first = requests[0];
  if (requests.size() < 2 || !first.has_hash || requests[1].command != first.command ||
      requests[1].first_key_hash != first.first_key_hash) {
    return 0;
  }
  const Merged& merged = merged_[server_.commands().IndexOf(*first.command)];
  if (merged.function == nullptr) return 0;
  size_t count = 0;
  for (const ParsedRequest& request : requests) {
    const size_t args = request.args.size();
    if (request.command != first.command || args < merged.fewest_args || args > merged.most_args ||
        request.first_key_hash != first.first_key_hash || request.args[1] != first.args[1]) {
      break;
    }
    ++count;
  }
  return count;
}

bool Dispatcher::MayMerge(const Client& client) const {
  const int64_t slow_micros = server_.options()->slowlog_log_slower_than_us;
  return client.queue_.empty() && !client.transaction_.open && !IsShutOut(client) &&
         !client.restricted() && !client.only_listens() &&
         client.reply_mode() == Client::ReplyMode::kOn && !server_.holds_back() &&
         server_.options()->notify_keyspace_events == 0 && !server_.monitors().any() &&
         !server_.tracking().active() && server_.blocking().count() == 0 &&
         !server_.first_loading() && !server_.scripting().runner().busy() &&
         (slow_micros < 0 || slow_micros >= kShortMicros);
}

bool Dispatcher::MayWriteMerged(const Command& command, Ticket* ticket,
                                std::span<const ParsedRequest> requests) {
  uint64_t bytes = 0;
  for (const ParsedRequest& request : requests) bytes += WriteBytes(request.args, 1);
  const bool frees = (command.flags & kDenyOom) == 0 || (command.flags & kFreesSpace) != 0;
  return !server_.saver().RefusesWrites() &&
         server_.store().CheckWrite(bytes, frees, ticket) == Store::WriteGate::kOk;
}

bool Dispatcher::RunMerged(Client* client, std::span<const ParsedRequest> requests) {
  const ParsedRequest& first = requests[0];
  const Command& command = *first.command;
  Store& store = server_.store();
  keys_.clear();
  Work work{first.args, &command, &keys_, &client->ticket_, nullptr, &first};
  CollectKeys(client, work);
  const bool ready =
      ((command.flags & kWrite) == 0 || MayWriteMerged(command, work.ticket, requests)) &&
      store.Plan(keys_, work.ticket) == PlanResult::kReady;
  const bool ran = ready && CallMerged(client, work, requests);
  store.Release(work.ticket);
  if (ran) ServeBlocked();
  return ran;
}

bool Dispatcher::CallMerged(Client* client, const Work& work,
                            std::span<const ParsedRequest> requests) {
  const Command& command = *work.command;
  Store& store = server_.store();
  CommandContext context{server_, *client, store, command, work.args, client->reply(), *work.keys};
  current_client_ = client;
  current_args_ = work.args;
  client->set_last_command(&command);
  const uint64_t errors_before = client->reply().errors();
  ChooseExpiry(command);
  CommandRun run(server_, client->reply());
  const bool ran = merged_[server_.commands().IndexOf(command)].function(context, requests);
  // What is missing is fetched for the first of them, which runs by itself.
  const bool missed_pages = run.MissedPages(command.name);
  if (missed_pages) [[unlikely]]
    (void)store.PlanMissing(*work.keys, work.ticket);
  if (!ran) {
    if (!missed_pages) run.TakeBack(command.name);
    ClearCurrent();
    return false;
  }
  const uint64_t nanos = Lap() / requests.size();
  for (size_t i = 0; i < requests.size(); ++i) CountRun(client, command, errors_before, nanos);
  ClearCurrent();
  client->FlushPushes();
  return true;
}

}  // namespace firn::server
