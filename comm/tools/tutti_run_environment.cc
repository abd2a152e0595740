#include "comm/tools/tutti_run_environment.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace tutti {
namespace {

// Who a process is, as other launchers say it. Settings that users make themselves (OMPI_MCA_btl,
// PMIX_MCA_gds, UCX_...) stay; only what a launcher sets for one process or one job goes.
constexpr std::string_view kForeignNames[] = {
    // Tutti's own, from a tutti-run around this one.
    "TUTTI_RANK", "TUTTI_NRANKS", "TUTTI_LOCAL_RANK", "TUTTI_RENDEZVOUS", "TUTTI_SECRET",
    "TUTTI_SECRET_FILE",
    // torchrun
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE",
    "ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    // Open MPI's mpirun
    "OMPI_APP_CTX_NUM_PROCS", "OMPI_ARGV", "OMPI_COMMAND", "OMPI_FILE_LOCATION", "OMPI_FIRST_RANKS",
    "OMPI_NUM_APP_CTX", "OMPI_UNIVERSE_SIZE", "OMPI_MCA_ess", "OMPI_MCA_initial_wdir",
    "OMPI_MCA_pmix", "PMIX_HOSTNAME", "PMIX_ID", "PMIX_NAMESPACE", "PMIX_RANK",
    "PMIX_BFROP_BUFFER_TYPE", "PMIX_GDS_MODULE", "PMIX_SECURITY_MODE", "PMIX_SERVER_TMPDIR",
    "PMIX_SYSTEM_TMPDIR", "PMIX_VERSION",
    // MPICH's Hydra
    "HYDI_CONTROL_FD", "MPI_LOCALNRANKS", "MPI_LOCALRANKID",
    // Slurm: the task, not the allocation
    "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_STEP_NUM_TASKS"};
constexpr std::string_view kForeignPrefixes[] = {
    "OMPI_COMM_WORLD_", "OMPI_MCA_ess_", "OMPI_MCA_orte_", "PMIX_SERVER_URI",
    "PMIX_DSTORE_",     "PMI_",          "TORCHELASTIC_",  "MV2_COMM_WORLD_"};

bool is_foreign(std::string_view variable) {
  const std::string_view name = variable.substr(0, variable.find('='));
  for (const std::string_view foreign : kForeignNames) {
    if (name == foreign) return true;
  }
  for (const std::string_view prefix : kForeignPrefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> rank_environment(const std::vector<std::string>& inherited,
                                          const JobFacts& job, int rank) {
  std::vector<std::string> out;
  for (const std::string& variable : inherited) {
    if (!is_foreign(variable)) out.push_back(variable);
  }
  out.push_back("TUTTI_RANK=" + std::to_string(rank));
  out.push_back("TUTTI_NRANKS=" + std::to_string(job.nranks));
  out.push_back("TUTTI_LOCAL_RANK=" + std::to_string(rank));
  out.push_back("TUTTI_RENDEZVOUS=file://" + job.folder);
  out.push_back("TUTTI_SECRET=" + job.secret);
  return out;
}

Result<JobFolder> JobFolder::make(const std::string& parent) {
  std::error_code failure;
  const std::filesystem::path absolute = std::filesystem::absolute(parent, failure);
  std::string path = (absolute / "tutti-run-XXXXXX").string();
  if (failure || mkdtemp(path.data()) == nullptr) {
    return error(Code::kSystemError, "cannot make a folder in %s: %s", parent.c_str(),
                 failure ? failure.message().c_str() : std::strerror(errno));
  }
  return JobFolder(std::move(path));
}

JobFolder::~JobFolder() {
  if (path_.empty()) return;
  std::error_code ignored;  // nobody is left to tell
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace tutti
