# What `cmake --install` and `cpack -G DEB` deliver: the programs, what they read, and the libraries with
# a find_package(Tessera). The tree under the prefix is the repository's: bin/tessera looks for
# ../share/tessera/configs, and headers are included as they are here ("models/base/spec.hpp").
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Everything a user runs; `./tessera` builds this and not the tests.
add_custom_target(programs)
set(programs tessera tessera-calibrate tessera-validate)
foreach(program ${programs})
  if(TARGET ${program})
    add_dependencies(programs ${program})
    install(TARGETS ${program} DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
# Compiling its kernels takes a minute, so it is not among the programs every first command builds, unless it
# has none; `./tessera measure` and `./tessera test` build it.
if(NOT TESSERA_CUDA_VERSION)
  add_dependencies(programs tessera-measure)
endif()
install(TARGETS tessera-measure DESTINATION ${CMAKE_INSTALL_BINDIR} OPTIONAL)

install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/tessera)
install(DIRECTORY traces/samples DESTINATION ${CMAKE_INSTALL_DATADIR}/tessera/traces)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(rooms models kernels traces sim validation)
foreach(room ${rooms})
  set_target_properties(tessera_${room} PROPERTIES EXPORT_NAME ${room})
  install(TARGETS tessera_${room} EXPORT TesseraTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tessera
    FILES_MATCHING PATTERN "*.hpp" PATTERN cli EXCLUDE PATTERN samples EXCLUDE)
endforeach()
set_target_properties(tessera_options PROPERTIES EXPORT_NAME options)
install(TARGETS tessera_options EXPORT TesseraTargets)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Tessera)
install(EXPORT TesseraTargets NAMESPACE Tessera:: DESTINATION ${package_dir})
configure_package_config_file(cmake/TesseraConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/TesseraConfig.cmake
  INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may change any header.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/TesseraConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/TesseraConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/TesseraConfigVersion.cmake
  DESTINATION ${package_dir})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tessera)
set(CPACK_PACKAGE_VENDOR "the Tessera authors")
set(CPACK_PACKAGE_CONTACT ${CPACK_PACKAGE_VENDOR})
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
include(CPack)
