#include "comm/api/expert_state.h"

#include <algorithm>
#include <cstring>

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

TensorCheck& TensorCheck::dims(const std::vector<int64_t>& dims) {
  if (!status_.ok()) return *this;
  const auto text = [](const int64_t* dim, size_t n, bool bounds) {
    std::string out = "[";
    for (size_t i = 0; i < n; ++i) {
      if (i > 0) out += ", ";
      if (bounds && dim[i] < 0) out += ">= ";
      out += std::to_string(bounds && dim[i] < 0 ? -dim[i] : dim[i]);
    }
    return out + "]";
  };
  bool fits = tensor_.ndim == static_cast<int32_t>(dims.size());
  int64_t elements = 1;
  size_t i = 0;
  for (const int64_t dim : dims) {
    if (!fits) break;
    const int64_t got = tensor_.dim[i++];
    fits = dim < 0 ? got >= -dim : got == dim;
    elements *= got;
  }
  if (!fits) {
    const auto n = static_cast<size_t>(std::clamp(tensor_.ndim, 0, 4));
    status_ =
        error(Code::kInvalidArgument, "%s: %s: expected dimensions %s, got %s", function_, name_,
              text(dims.data(), dims.size(), true).c_str(), text(tensor_.dim, n, false).c_str());
    return *this;
  }
  const int64_t last = tensor_.ndim > 0 ? tensor_.dim[tensor_.ndim - 1] : 1;
  const auto dense = last * static_cast<int64_t>(size_of(static_cast<DataType>(tensor_.dtype)));
  if (tensor_.row_stride_bytes != 0 && tensor_.row_stride_bytes < dense) {
    status_ =
        error(Code::kInvalidArgument,
              "%s: %s: row_stride_bytes: expected 0 or at least %lld, got %lld", function_, name_,
              static_cast<long long>(dense), static_cast<long long>(tensor_.row_stride_bytes));
  } else if (elements > 0 && tensor_.data == nullptr) {
    status_ = error(Code::kInvalidArgument, "%s: %s: data is NULL and there are %lld elements",
                    function_, name_, static_cast<long long>(elements));
  }
  return *this;
}

size_t TensorCheck::row_stride() const {
  if (tensor_.row_stride_bytes != 0) return static_cast<size_t>(tensor_.row_stride_bytes);
  const int64_t last = tensor_.ndim > 0 ? tensor_.dim[tensor_.ndim - 1] : 1;
  return static_cast<size_t>(last) * size_of(static_cast<DataType>(tensor_.dtype));
}

}  // namespace tutti
