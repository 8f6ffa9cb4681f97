#include "server/acl/acl_user.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/glob.h"

namespace firn::server {

bool AclSelector::AllowsKey(std::string_view key, uint8_t permissions) const {
  if (all_keys) return true;
  return std::ranges::any_of(keys, [&](const AclKeyPattern& each) {
    return (each.permissions & permissions) == permissions && GlobMatch(each.pattern, key);
  });
}

bool AclSelector::AllowsEveryKey(uint8_t permissions) const {
  if (all_keys) return true;
  return std::ranges::any_of(keys, [&](const AclKeyPattern& each) {
    return (each.permissions & permissions) == permissions && each.pattern == "*";
  });
}

bool AclSelector::AllowsChannel(std::string_view channel, Channel kind) const {
  if (all_channels) return true;
  return std::ranges::any_of(channels, [&](const std::string& pattern) {
    return kind == Channel::kPattern ? pattern == channel : GlobMatch(pattern, channel);
  });
}

bool AclUser::allows_everything() const {
  return std::ranges::any_of(selectors, &AclSelector::allows_everything);
}

bool AclUser::AllowsChannel(std::string_view channel, AclSelector::Channel kind) const {
  return std::ranges::any_of(selectors, [&](const AclSelector& selector) {
    return selector.AllowsChannel(channel, kind);
  });
}

bool AclUser::HasPassword(std::string_view password) const {
  const std::string hash = HashPassword(password);
  bool found = false;
  for (const std::string& each : passwords) {
    found |=
        each.size() == hash.size() && CRYPTO_memcmp(each.data(), hash.data(), hash.size()) == 0;
  }
  return found;
}

std::vector<std::string> AllChannelPatterns(const AclUser& user) {
  std::vector<std::string> all;
  for (const AclSelector& selector : user.selectors) {
    all.insert(all.end(), selector.channels.begin(), selector.channels.end());
  }
  return all;
}

std::string HashPassword(std::string_view password) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(EVP_Digest(password.data(), password.size(), digest, &size, EVP_sha256(), nullptr) == 1);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex.push_back("0123456789abcdef"[digest[i] >> 4]);
    hex.push_back("0123456789abcdef"[digest[i] & 15]);
  }
  return hex;
}

}  // namespace firn::server
