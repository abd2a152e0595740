#include "comm/api/expert_state.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "comm/base/checked.h"
#include "comm/base/types.h"

namespace tutti {

Status check_struct(const char* function, const char* what, const void* given, size_t least) {
  if (given == nullptr) return error(Code::kInvalidArgument, "%s: %s is NULL", function, what);
  tuttiEpHdr_t hdr;
  std::memcpy(&hdr, given, sizeof(hdr));
  if (hdr.magic == TUTTI_EP_MAGIC && hdr.size >= least) return Status();
  return error(Code::kInvalidArgument,
               "%s: %s: expected TUTTI_EP_HDR (magic %#x, at least %zu bytes), got %#x and %u",
               function, what, TUTTI_EP_MAGIC, least, hdr.magic, hdr.size);
}

Status check_group(const char* function, tuttiEpGroup_t group) {
  TUTTI_TRY(check_process());
  if (group != nullptr && group->state == tuttiEpGroup::kAlive) return Status();
  return error(Code::kInvalidArgument, "%s: expected an expert group, got %s", function,
               group == nullptr ? "NULL" : "something else");
}

Status check_handle(const char* function, tuttiEpHandle_t handle) {
  TUTTI_TRY(check_process());
  if (handle != nullptr && handle->state == tuttiEpHandle::kAlive) return Status();
  return error(Code::kInvalidArgument, "%s: expected an expert handle, got %s", function,
               handle == nullptr ? "NULL" : "something else");
}

Status check_no_group(const char* function) {
  if (thread_state().group_depth == 0) return Status();
  return error(Code::kInvalidUsage, "%s is not allowed inside a group", function);
}

Status check_unused(const char* function, const ExpertGroup& group) {
  if (group.is_idle()) return Status();
  return error(Code::kInvalidUsage, "%s: operations of the group are pending", function);
}

Status check_unused(const char* function, tuttiEpHandle_t handle) {
  if (handle->handle->busy() > 0) {
    return error(Code::kInvalidUsage,
                 "%s: expected a handle without pending operations, got %d that are", function,
                 handle->handle->busy());
  }
  // Nobody can complete anything on a communicator that has failed.
  if (handle->group->comm->comm->in_trouble()) return Status();
  const size_t open = handle->group->in_flight.uncompleted_of(handle);
  if (open == 0) return Status();
  return error(Code::kInvalidUsage,
               "%s: expected a handle without send_only operations to be completed, got %zu",
               function, open);
}

TensorCheck& TensorCheck::types(std::initializer_list<tuttiDataType_t> allowed) {
  if (!status_.ok()) return *this;
  if (std::find(allowed.begin(), allowed.end(), tensor_.dtype) != allowed.end()) return *this;
  std::string names;
  for (const tuttiDataType_t type : allowed) {
    names += (names.empty() ? "" : " or ") + std::string(name_of(static_cast<DataType>(type)));
  }
  status_ = error(Code::kInvalidArgument, "%s: %s: expected type %s, got %d", function_, name_,
                  names.c_str(), static_cast<int>(tensor_.dtype));
  return *this;
}

namespace {

std::string text_of(std::span<const int64_t> dims) {
  std::string out = "[";
  for (const int64_t dim : dims) out += (out.size() > 1 ? ", " : "") + std::to_string(dim);
  return out + "]";
}

// Bytes of a tensor in which no dimension is less than 1, so that those of its rows are known to
// fit, too; nothing where that is more than there can be.
std::optional<int64_t> most_bytes(std::span<const int64_t> dims, size_t element) {
  size_t bytes = element;
  for (const int64_t dim : dims) {
    const auto size = static_cast<size_t>(std::max<int64_t>(dim, 1));
    if (dim < 0 || !checked_mul(bytes, size, &bytes) || bytes > INT64_MAX) return std::nullopt;
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace

TensorCheck& TensorCheck::dims(const std::vector<int64_t>& dims) {
  if (!status_.ok()) return *this;
  const std::span<const int64_t> got(tensor_.dim,
                                     static_cast<size_t>(std::clamp(tensor_.ndim, 0, 4)));
  const size_t element = size_of(static_cast<DataType>(tensor_.dtype));
  if (tensor_.ndim != static_cast<int32_t>(dims.size()) || !std::ranges::equal(got, dims)) {
    status_ = error(Code::kInvalidArgument, "%s: %s: expected dimensions %s, got %s", function_,
                    name_, text_of(dims).c_str(), text_of(got).c_str());
    return *this;
  }
  if (!most_bytes(got, element)) {
    status_ = error(Code::kInvalidArgument,
                    "%s: %s: expected dimensions of 0 or more that fit into memory, got %s",
                    function_, name_, text_of(got).c_str());
    return *this;
  }
  const int64_t dense = (got.empty() ? 1 : got.back()) * static_cast<int64_t>(element);
  const bool none = std::ranges::find(got, 0) != got.end();
  if (tensor_.row_stride_bytes != 0 && tensor_.row_stride_bytes < dense) {
    status_ =
        error(Code::kInvalidArgument,
              "%s: %s: row_stride_bytes: expected 0 or at least %lld, got %lld", function_, name_,
              static_cast<long long>(dense), static_cast<long long>(tensor_.row_stride_bytes));
  } else if (!none && tensor_.data == nullptr) {
    status_ = error(Code::kInvalidArgument, "%s: %s: data is NULL and the dimensions are %s",
                    function_, name_, text_of(got).c_str());
  }
  return *this;
}

size_t TensorCheck::row_stride() const {
  if (tensor_.row_stride_bytes != 0) return static_cast<size_t>(tensor_.row_stride_bytes);
  const int64_t last = tensor_.ndim > 0 ? tensor_.dim[tensor_.ndim - 1] : 1;
  return static_cast<size_t>(last) * size_of(static_cast<DataType>(tensor_.dtype));
}

}  // namespace tutti
