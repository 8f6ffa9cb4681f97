// DetachedPages: the pages of a value that is made in RAM, apart from any store, by a thread that
// has it to itself:
//
//   DetachedPages pages(value_id);
//   ZsetValue(&pages, secret).Build(elements, limits);
//   pages.root(), pages.pages()
//
// No page is ever missing, so calls of the data types that answer false can't do so here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/types/page_space.h"

namespace firn {

class DetachedPages final : public PageSpace {
 public:
  // `value_id`: what the value gets if it has pages besides its root.
  explicit DetachedPages(uint64_t value_id) : value_id_(value_id) {}

  // What has been made: the root, empty if there is no value, and the other pages by their numbers;
  // an empty one does not exist.
  const std::string& root() const { return root_; }
  std::vector<std::string>& pages() { return pages_; }

  // --- PageSpace
  bool exists() const override { return !root_.empty(); }
  std::string_view Root() override { return root_; }
  std::string_view Read(PageNumber page) override { return PageAt(page); }
  std::string_view Peek(PageNumber page) override { return PageAt(page); }
  void CreateRoot(std::string_view bytes) override;
  void ReplaceRoot(std::string_view bytes) override { root_ = std::string(bytes); }
  void Edit(PageNumber page, const PageEdit& edit) override;
  void Create(PageNumber page, std::string_view bytes) override;
  void Drop(PageNumber page) override;
  void DeleteValue() override;
  uint64_t NewValueId() override { return value_id_; }

 private:
  std::string& PageAt(PageNumber page);

  const uint64_t value_id_;
  std::string root_;
  std::vector<std::string> pages_;
};

}  // namespace firn
