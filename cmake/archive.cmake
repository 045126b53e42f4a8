# Makes the archive that is installed of the one that cargo makes: one object with what the functions of the header
# need, and no name but theirs, which a shared library that links it does not export. Cargo's has all of Rust's standard
# library: ten times as large, and not to be linked beside another Rust archive, since both define the same names.
#
#   cmake -DFROM=libdownhill.a -DUNWINDER=libunwind.a -DTO=out/libdownhill.a -DFOLDER=scratch
#     -DNM=nm -DLD=ld -DOBJCOPY=objcopy -DAR=ar -DCC=cc -DCC_FLAGS=--target=... -P archive.cmake
cmake_minimum_required(VERSION 3.21)

function(run)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output ERROR_VARIABLE error RESULT_VARIABLE failed)
  if(failed)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}: ${failed}\n${output}${error}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

if(EXISTS ${TO} AND NOT ${FROM} IS_NEWER_THAN ${TO} AND NOT ${CMAKE_CURRENT_LIST_FILE} IS_NEWER_THAN ${TO})
  return()
endif()
# It fails for what it cannot read, which is LLVM's bitcode of parts of Rust's library if it is of an older LLVM.
execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${FROM} OUTPUT_VARIABLE output ERROR_VARIABLE error)
string(REGEX MATCHALL "\ndownhill_[a-z0-9_]+ T" names "${output}")
list(TRANSFORM names REPLACE "\n(.*) T" "\\1")
if(NOT names)
  message(FATAL_ERROR "${NM} sees no functions in ${FROM}\n${output}${error}")
endif()
list(TRANSFORM names PREPEND "-u;" OUTPUT_VARIABLE roots)
list(JOIN names "\n" lines)
list(TRANSFORM names PREPEND ".hidden " OUTPUT_VARIABLE hidden)
list(JOIN hidden "\n" hidden)
file(WRITE ${FOLDER}/names "${lines}\n")
file(WRITE ${FOLDER}/hidden.s "${hidden}\n.section .note.GNU-stack,\"\",%progbits\n")
run(${CC} ${CC_FLAGS} -c ${FOLDER}/hidden.s -o ${FOLDER}/hidden.o)
# Without groups: what another object has under the same name would be left out for one that is no longer to be seen.
run(${LD} -r --force-group-allocation --gc-sections ${roots} -o ${FOLDER}/all.o ${FOLDER}/hidden.o ${FROM} ${UNWINDER})
run(${OBJCOPY} --strip-debug --strip-unneeded --remove-section=.llvmbc --remove-section=.llvmcmd
  --keep-global-symbols=${FOLDER}/names ${FOLDER}/all.o ${FOLDER}/downhill.o)
file(REMOVE ${TO})
run(${AR} crsD ${TO} ${FOLDER}/downhill.o)
