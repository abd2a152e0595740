// What libtutti_gloo.so exports.
#include "transports/module.h"

#include "transports/gloo/gloo.h"

namespace tutti {
namespace {

constexpr TransportModule kModule = {kModuleAbi, TUTTI_VERSION, "gloo", GlooTransport::create,
                                     nullptr};

}  // namespace
}  // namespace tutti

__attribute__((visibility("default"))) const tutti::TransportModule* tutti_transport_module() {
  return &tutti::kModule;
}
