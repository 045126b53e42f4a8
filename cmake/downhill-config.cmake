# find_package(downhill 0.1 CONFIG) gives the targets downhill::shared and downhill::static, each if it is installed;
# COMPONENTS shared, static or both says which must be.
#
# Nothing here depends on prefix or machine. Header and libraries are looked for from this file on, wherever that has
# been moved; where they are in unusual folders, downhill_INCLUDE_DIR and downhill_LIBRARY_DIR say in which.
get_filename_component(_downhill_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
set(_downhill_anywhere NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH NO_CACHE)
unset(_downhill_include)
find_path(_downhill_include downhill.h HINTS ${downhill_INCLUDE_DIR} "${_downhill_prefix}/include" ${_downhill_anywhere})

set(_downhill_names_shared libdownhill.so libdownhill.dylib libdownhill.dll.a)
set(_downhill_names_static libdownhill.a)
foreach(_downhill_kind shared static)
  unset(_downhill_library)
  set(downhill_${_downhill_kind}_FOUND FALSE)
  find_library(_downhill_library NAMES ${_downhill_names_${_downhill_kind}} HINTS ${downhill_LIBRARY_DIR} "${_downhill_prefix}"
    PATH_SUFFIXES lib/${CMAKE_LIBRARY_ARCHITECTURE} lib lib64 ${_downhill_anywhere})
  if(NOT _downhill_library OR NOT _downhill_include)
    continue()
  endif()

  # What a static library needs besides differs by platform and release of Rust; pkg-config's file says it.
  set(_downhill_private "")
  if(_downhill_kind STREQUAL static)
    get_filename_component(_downhill_libdir "${_downhill_library}" DIRECTORY)
    if(NOT EXISTS "${_downhill_libdir}/pkgconfig/downhill.pc")
      continue()
    endif()
    file(STRINGS "${_downhill_libdir}/pkgconfig/downhill.pc" _downhill_private REGEX "^Libs\\.private:")
    string(REGEX REPLACE "^Libs\\.private: *" "" _downhill_private "${_downhill_private}")
  endif()

  set(downhill_${_downhill_kind}_FOUND TRUE)
  if(NOT TARGET downhill::${_downhill_kind})
    string(TOUPPER ${_downhill_kind} _downhill_type)
    add_library(downhill::${_downhill_kind} ${_downhill_type} IMPORTED)
    set_target_properties(downhill::${_downhill_kind} PROPERTIES IMPORTED_LOCATION "${_downhill_library}"
      INTERFACE_INCLUDE_DIRECTORIES "${_downhill_include}" INTERFACE_LINK_LIBRARIES "${_downhill_private}")
    if(_downhill_library MATCHES "\\.dll\\.a$") # Windows links this one, and programs look for the other in their PATH
      set_target_properties(downhill::shared PROPERTIES IMPORTED_IMPLIB "${_downhill_library}"
        IMPORTED_LOCATION "${_downhill_prefix}/bin/downhill.dll" INTERFACE_COMPILE_DEFINITIONS DOWNHILL_DLL)
    endif()
  endif()
endforeach()

if(NOT downhill_shared_FOUND AND NOT downhill_static_FOUND)
  set(downhill_FOUND FALSE)
  set(downhill_NOT_FOUND_MESSAGE "below ${_downhill_prefix} there is neither libdownhill.so, nor libdownhill.a with pkgconfig/downhill.pc")
endif()
foreach(_downhill_kind IN LISTS downhill_FIND_COMPONENTS)
  if(downhill_FIND_REQUIRED_${_downhill_kind} AND NOT downhill_${_downhill_kind}_FOUND)
    set(downhill_FOUND FALSE)
    set(downhill_NOT_FOUND_MESSAGE "the component ${_downhill_kind} is not below ${_downhill_prefix}")
  endif()
endforeach()
