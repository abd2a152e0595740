#include "transports/module.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <string>
#include <unistd.h>

namespace tutti {
namespace {

using Entry = const TransportModule* (*)();

// The folder of the file that this very code lies in: libtutti.so, or a program that holds it.
std::string own_folder() {
  Dl_info info = {};
  link_map* map = nullptr;
  const int known = dladdr1(reinterpret_cast<void*>(&own_folder), &info,
                            reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP);
  // The program itself has no name there.
  const bool named = known != 0 && map != nullptr && map->l_name[0] != '\0';
  char* file = realpath(named ? map->l_name : "/proc/self/exe", nullptr);
  if (file == nullptr) return ".";
  std::string folder(file);
  std::free(file);
  folder.resize(folder.rfind('/'));
  return folder;
}

Result<const TransportModule*> check_module(void* handle, const std::string& path,
                                            std::string_view name) {
  auto* entry = reinterpret_cast<Entry>(dlsym(handle, "tutti_transport_module"));
  if (entry == nullptr) {
    return error(Code::kUnsupported, "%s is no transport module of Tutti", path.c_str());
  }
  const TransportModule* module = entry();
  // Nothing behind `abi` means anything in another one.
  if (module->abi != kModuleAbi) {
    return error(Code::kUnsupported, "%s has module interface %u, this library has %u",
                 path.c_str(), module->abi, kModuleAbi);
  }
  if (std::strcmp(module->version, TUTTI_VERSION) != 0) {
    return error(Code::kUnsupported, "%s belongs to Tutti %s, this is Tutti " TUTTI_VERSION,
                 path.c_str(), module->version);
  }
  if (name != module->name) {
    return error(Code::kUnsupported, "%s brings the transport %s", path.c_str(), module->name);
  }
  return module;
}

}  // namespace

Result<const TransportModule*> open_module(std::string_view name) {
  const std::string file = "libtutti_" + std::string(name) + ".so";
  const std::string folder = own_folder();
  // Programs that hold the library themselves (tests, tools) lie beside its folder.
  const std::array<std::string, 2> places = {folder + "/" + file, folder + "/../lib/" + file};
  for (const std::string& path : places) {
    if (access(path.c_str(), F_OK) != 0) continue;
    // It is never closed: what it brings may have left threads and handlers behind. Opening it
    // again gives the same one.
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == nullptr) {
      return error(Code::kUnsupported, "transport %.*s: %s", static_cast<int>(name.size()),
                   name.data(), dlerror());
    }
    return check_module(handle, path, name);
  }
  return error(Code::kUnsupported, "transport %.*s: there is no %s in %s",
               static_cast<int>(name.size()), name.data(), file.c_str(), folder.c_str());
}

}  // namespace tutti
