# The installed header says which version this is. It serves a request for the same version or an earlier one that it
# is compatible with: of the same minor version before 1.0, of the same major one from then on.
find_path(downhill_INCLUDE_DIR downhill.h
  HINTS "${CMAKE_CURRENT_LIST_DIR}/../../../include" NO_DEFAULT_PATH NO_CACHE)
if(NOT downhill_INCLUDE_DIR)
  set(PACKAGE_VERSION "without downhill.h")
  return()
endif()
file(STRINGS "${downhill_INCLUDE_DIR}/downhill.h" PACKAGE_VERSION REGEX "^#define DOWNHILL_VERSION_[MP][A-Z]+ [0-9]+$")
list(TRANSFORM PACKAGE_VERSION REPLACE "^.* " "")
list(JOIN PACKAGE_VERSION "." PACKAGE_VERSION)

string(REGEX MATCH "^(0\\.[0-9]+|[0-9]+)\\." _downhill_compatible "${PACKAGE_VERSION}.")
string(FIND "${PACKAGE_FIND_VERSION}." "${_downhill_compatible}" _downhill_start)
if(_downhill_start EQUAL 0 AND PACKAGE_FIND_VERSION VERSION_LESS_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
