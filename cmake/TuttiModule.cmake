# tutti_module(NAME SOURCES ... USES layer ... LINKS target ...)
#   A transport that brings a library libtutti.so must not need (transports/module.h): libtutti_NAME.so
#   in the folder of libtutti.so, here and when installed. It carries its own copy of the layers in
#   USES and exports tutti_transport_module and nothing else. The target is tutti_module_NAME.
include(GNUInstallDirs)

function(tutti_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES;LINKS" ${ARGN})
  set(target tutti_module_${name})
  set(exports ${PROJECT_SOURCE_DIR}/transports/module.map)
  add_library(${target} MODULE ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE tutti_flags ${arg_LINKS})
  target_compile_definitions(${target} PRIVATE TUTTI_VERSION="${PROJECT_VERSION}")
  foreach(layer IN LISTS arg_USES)
    target_link_libraries(${target} PRIVATE tutti_${layer})
  endforeach()
  target_link_options(${target} PRIVATE -Wl,--exclude-libs,ALL -Wl,--version-script=${exports})
  if(NOT TUTTI_SANITIZE)
    # Sanitizer runtimes are found only when a program starts.
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME tutti_${name}
    PREFIX lib
    LINK_DEPENDS ${exports})
  install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()
