# find_package(downhill 0.1 CONFIG) gives the targets downhill::shared and downhill::static, each if it is installed;
# COMPONENTS shared, static or both says which must be.
#
# Nothing here depends on prefix or machine. Headers and libraries are looked for from this file on, wherever that has
# been moved; where they are in other folders than usual, set the variables downhill_INCLUDE_DIR and so on.
get_filename_component(_downhill_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_path(downhill_INCLUDE_DIR downhill.h HINTS "${_downhill_prefix}/include" NO_DEFAULT_PATH NO_CACHE)
set(_downhill_shared_names libdownhill.so libdownhill.dylib)
set(_downhill_static_names libdownhill.a)
foreach(_downhill_kind shared static)
  find_library(downhill_${_downhill_kind}_LIBRARY NAMES ${_downhill_${_downhill_kind}_names}
    HINTS "${_downhill_prefix}" PATH_SUFFIXES lib/${CMAKE_LIBRARY_ARCHITECTURE} lib lib64 NO_DEFAULT_PATH NO_CACHE)
  set(_downhill_library "${downhill_${_downhill_kind}_LIBRARY}")
  if(_downhill_library AND downhill_INCLUDE_DIR)
    set(downhill_${_downhill_kind}_FOUND TRUE)
    if(NOT TARGET downhill::${_downhill_kind})
      string(TOUPPER ${_downhill_kind} _downhill_type)
      add_library(downhill::${_downhill_kind} ${_downhill_type} IMPORTED)
      set_target_properties(downhill::${_downhill_kind} PROPERTIES
        IMPORTED_LOCATION "${_downhill_library}" INTERFACE_INCLUDE_DIRECTORIES "${downhill_INCLUDE_DIR}")
    endif()
  endif()
endforeach()

# What a static library needs besides differs by platform and release of Rust; pkg-config's file says it.
if(downhill_static_FOUND)
  get_filename_component(_downhill_libdir "${downhill_static_LIBRARY}" DIRECTORY)
  file(STRINGS "${_downhill_libdir}/pkgconfig/downhill.pc" _downhill_private REGEX "^Libs\\.private:")
  string(REGEX REPLACE "^Libs\\.private: *" "" _downhill_private "${_downhill_private}")
  set_target_properties(downhill::static PROPERTIES INTERFACE_LINK_LIBRARIES "${_downhill_private}")
endif()

if(NOT downhill_FIND_COMPONENTS AND NOT downhill_shared_FOUND AND NOT downhill_static_FOUND)
  set(downhill_FOUND FALSE)
  set(downhill_NOT_FOUND_MESSAGE "neither libdownhill.so nor libdownhill.a, or no downhill.h, is below ${_downhill_prefix}")
endif()
foreach(_downhill_kind IN LISTS downhill_FIND_COMPONENTS)
  if(downhill_FIND_REQUIRED_${_downhill_kind} AND NOT downhill_${_downhill_kind}_FOUND)
    set(downhill_FOUND FALSE)
    set(downhill_NOT_FOUND_MESSAGE "the component ${_downhill_kind} is not below ${_downhill_prefix}")
  endif()
endforeach()
