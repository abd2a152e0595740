# tutti_layer(NAME SOURCES ... USES layer ... LINKS target ...)
#   One layer of the library: a static archive `tutti_NAME` that may call only the layers in USES.
# tutti_layer_test(NAME SOURCES ... LAYERS ... )
#   A test executable that links one layer whole (so that an upward reference is an undefined
#   symbol, used or not) and the layers below it, nothing else of Tutti.
include(GoogleTest)

function(tutti_layer name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES;LINKS" ${ARGN})
  add_library(tutti_${name} STATIC ${arg_SOURCES})
  target_link_libraries(tutti_${name} PUBLIC tutti_flags PRIVATE ${arg_LINKS})
  if(TUTTI_LTO)
    # Fat: libtutti.so is optimised as one program, tests link the same objects the ordinary way.
    target_compile_options(tutti_${name} PRIVATE -flto -ffat-lto-objects)
  endif()
  foreach(layer IN LISTS arg_USES)
    target_link_libraries(tutti_${name} PUBLIC tutti_${layer})
  endforeach()
endfunction()

function(tutti_layer_test name)
  cmake_parse_arguments(arg "" "LAYER;TIMEOUT" "SOURCES;LINKS;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE tutti_flags GTest::gtest_main
    -Wl,--whole-archive tutti_${arg_LAYER} -Wl,--no-whole-archive ${arg_LINKS})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}")
endfunction()
