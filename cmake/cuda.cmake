# The CUDA kernels and tessera-measure. Without nvcc the program is built all the same and says what it lacks.
#
# nvcc runs as custom commands rather than as a CMake language: CMake 3.22 to 3.25 know neither CUDA 13 nor
# sm_90a, and what ptxas says about each kernel is kept for tests/cuda.
set(TESSERA_CUDA AUTO CACHE STRING "CUDA kernels: AUTO (where nvcc is), ON (or fail), OFF")
set(TESSERA_CUDA_TARGETS 80 86 89 90a 100 120 CACHE STRING "compute capabilities to compile for")
# The kernels need nothing newer than 8.0, so this PTX lets the driver compile them for any card without a
# target of its own.
set(TESSERA_CUDA_PTX 80 CACHE STRING "compute capabilities to keep PTX of")

set(cuda_missing "")
if(TESSERA_CUDA STREQUAL OFF)
  set(cuda_missing "TESSERA_CUDA is OFF")
else()
  find_program(TESSERA_NVCC nvcc PATHS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
  if(NOT TESSERA_NVCC)
    set(cuda_missing "no nvcc")
  else()
    get_filename_component(cuda_root ${TESSERA_NVCC} REALPATH)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
    find_path(TESSERA_CUDA_INCLUDE cuda_runtime.h PATHS ${cuda_root}/include ${cuda_root}/targets/x86_64-linux/include)
    find_library(TESSERA_CUDART cudart_static PATHS ${cuda_root}/lib64 ${cuda_root}/lib ${cuda_root}/targets/x86_64-linux/lib)
    execute_process(COMMAND ${TESSERA_NVCC} --version OUTPUT_VARIABLE cuda_version ERROR_QUIET)
    string(REGEX MATCH "V[0-9.]+" cuda_version "${cuda_version}")
    if(NOT TESSERA_CUDA_INCLUDE OR NOT TESSERA_CUDART)
      set(cuda_missing "no CUDA runtime beside ${TESSERA_NVCC}")
    elseif(NOT cuda_version)
      set(cuda_missing "${TESSERA_NVCC} does not run")
    elseif(cuda_version VERSION_LESS "V12.8")
      set(cuda_missing "nvcc ${cuda_version} is older than 12.8, the first for sm_100 and sm_120")
    endif()
  endif()
endif()

add_executable(tessera-measure kernels/measure/measure_main.cpp)
target_link_libraries(tessera-measure PRIVATE tessera_kernels CLI11::CLI11)
if(cuda_missing)
  if(TESSERA_CUDA STREQUAL ON)
    message(FATAL_ERROR "TESSERA_CUDA is ON, but there is ${cuda_missing}")
  endif()
  message(STATUS "CUDA kernels: skipped (${cuda_missing}); tessera measure will say so")
  target_sources(tessera-measure PRIVATE kernels/measure/no_cuda.cpp)
  return()
endif()

string(REPLACE ";" " sm_" architectures "${TESSERA_CUDA_TARGETS}")
message(STATUS "CUDA kernels: nvcc ${cuda_version} for sm_${architectures}, PTX ${TESSERA_CUDA_PTX}")
set(cuda_flags -std=c++20 -O3 --expt-relaxed-constexpr -ccbin ${CMAKE_CXX_COMPILER}
  -Xcompiler=-Wall,-Wextra -Xptxas=-v -I${PROJECT_SOURCE_DIR})
foreach(architecture ${TESSERA_CUDA_TARGETS})
  list(APPEND cuda_flags -gencode=arch=compute_${architecture},code=sm_${architecture})
endforeach()
foreach(architecture ${TESSERA_CUDA_PTX})
  list(APPEND cuda_flags -gencode=arch=compute_${architecture},code=compute_${architecture})
endforeach()

file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu)
set(cuda_objects "")
set(TESSERA_CUDA_REPORTS "")
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/cuda)
foreach(source ${cuda_sources})
  get_filename_component(name ${source} NAME_WE)
  set(object ${PROJECT_BINARY_DIR}/cuda/${name}.o)
  set(report ${PROJECT_BINARY_DIR}/cuda/${name}.ptxas)
  add_custom_command(OUTPUT ${object} BYPRODUCTS ${report}
    COMMAND sh ${PROJECT_SOURCE_DIR}/cmake/nvcc.sh ${report} ${CCACHE} ${TESSERA_NVCC} ${cuda_flags}
      -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} ${PROJECT_SOURCE_DIR}/cmake/nvcc.sh DEPFILE ${object}.d
    COMMENT "Compiling CUDA kernels ${name}.cu" VERBATIM)
  list(APPEND cuda_objects ${object})
  list(APPEND TESSERA_CUDA_REPORTS ${report})
endforeach()

target_sources(tessera-measure PRIVATE ${cuda_objects} kernels/cuda/cuda_machine.cpp kernels/cuda/cublaslt.cpp)
target_include_directories(tessera-measure SYSTEM PRIVATE ${TESSERA_CUDA_INCLUDE})
get_filename_component(cuda_libraries ${TESSERA_CUDART} DIRECTORY)
target_compile_definitions(tessera-measure PRIVATE TESSERA_CUDA_LIBRARIES="${cuda_libraries}")
target_link_libraries(tessera-measure PRIVATE ${TESSERA_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
# `cmake --build build --target measure_bundle`: a folder to copy to a GPU machine that cannot build.
add_custom_target(measure_bundle
  COMMAND sh ${PROJECT_SOURCE_DIR}/cmake/measure_bundle.sh $<TARGET_FILE:tessera-measure> ${PROJECT_SOURCE_DIR}/configs
    ${PROJECT_BINARY_DIR}/measure-bundle
  DEPENDS tessera-measure VERBATIM)
set(TESSERA_CUDA_VERSION ${cuda_version})
