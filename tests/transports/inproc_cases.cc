// What the conformance suite runs with in transports_test: inproc, plain and behind decorators.
#include "tests/transports/conformance.h"
#include "transports/decorators/fault.h"
#include "transports/inproc/inproc.h"

namespace tutti {
namespace {

Endpoints make_inproc(int n) {
  auto domain = InprocDomain::create();
  Endpoints endpoints;
  for (int i = 0; i < n; ++i) endpoints.push_back(std::make_unique<InprocTransport>(domain, i));
  return endpoints;
}

TransportCase faulty(const std::string& name, const FaultOptions& options) {
  TransportCase c;
  c.name = name;
  c.offers_arrive = options.hide_offer == 0;
  c.make = [options](int n) {
    Endpoints endpoints;
    for (auto& inner : make_inproc(n)) {
      endpoints.push_back(std::make_unique<FaultTransport>(std::move(inner), options));
    }
    return endpoints;
  };
  return c;
}

FaultOptions shaky(uint64_t seed) {
  FaultOptions options;
  options.seed = seed;
  options.delay = 0.1;
  options.max_delay_polls = 5;
  options.stall = 0.2;
  return options;
}

}  // namespace

std::vector<TransportCase> conformance_cases() {
  std::vector<TransportCase> cases = {{"inproc", make_inproc}};
  FaultOptions options;
  options.hide_view = true;
  cases.push_back(faulty("inproc_no_view", options));
  options = FaultOptions();
  options.hide_place = true;
  cases.push_back(faulty("inproc_no_place", options));
  options = FaultOptions();
  options.slots = 2;
  cases.push_back(faulty("inproc_2_slots", options));
  for (uint64_t seed : {1, 2, 3}) {
    cases.push_back(faulty("inproc_fault_" + std::to_string(seed), shaky(seed)));
  }
  options = shaky(4);
  options.hide_view = true;
  options.hide_offer = 0.3;
  options.slots = 3;
  cases.push_back(faulty("inproc_fault_landed", options));
  return cases;
}

}  // namespace tutti
