// What the conformance suite runs with in transports_test: inproc, plain and behind decorators.
#include "tests/transports/conformance.h"
#include "transports/inproc/inproc.h"
#include "transports/shm/shm.h"

namespace tutti {
namespace {

Endpoints make_inproc(int n) {
  auto domain = InprocDomain::create();
  Endpoints endpoints;
  for (int i = 0; i < n; ++i) endpoints.push_back(std::make_unique<InprocTransport>(domain, i));
  return endpoints;
}

Endpoints make_shm(int n, const ShmOptions& options) {
  Endpoints endpoints;
  for (int i = 0; i < n; ++i) {
    endpoints.push_back(
        std::move(ShmTransport::open(i, {}, std::make_shared<OwnRegions>(), options).value()));
  }
  return endpoints;
}

}  // namespace

std::vector<TransportCase> conformance_cases() {
  const TransportCase plain = {"inproc", make_inproc};
  std::vector<TransportCase> cases = {plain};
  ShmOptions patient;
  patient.kernel_ns = INT64_MAX;  // however busy the machine is
  cases.push_back({"shm", [patient](int n) { return make_shm(n, patient); }});
  ShmOptions unread = patient;
  unread.read_peers = false;
  cases.push_back({"shm_staged", [unread](int n) { return make_shm(n, unread); }});
  FaultOptions options;
  options.hide_view = true;
  cases.push_back(with_faults(plain, "inproc_no_view", options));
  options = FaultOptions();
  options.hide_place = true;
  cases.push_back(with_faults(plain, "inproc_no_place", options));
  options = FaultOptions();
  options.slots = 2;
  cases.push_back(with_faults(plain, "inproc_2_slots", options));
  for (uint64_t seed : {1, 2, 3}) {
    cases.push_back(with_faults(plain, "inproc_fault_" + std::to_string(seed), shaky(seed)));
  }
  options = shaky(4);
  options.hide_view = true;
  options.hide_offer = 0.3;
  options.slots = 3;
  cases.push_back(with_faults(plain, "inproc_fault_landed", options));
  return cases;
}

}  // namespace tutti
