// TUTTI_CHECK: a broken invariant of Tutti itself. Prints where and what, then aborts: continuing
// would move wrong bytes. Never for anything a caller or a peer can cause.
#pragma once

namespace tutti {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* why);

#define TUTTI_CHECK(condition, why)                  \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::tutti::check_failed(__FILE__, __LINE__, #condition, why))

}  // namespace tutti
