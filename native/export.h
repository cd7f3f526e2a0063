// What a function needs for Python to find it.
#pragma once

#include <stdint.h>

#define WEFT_EXPORT extern "C" __attribute__((visibility("default")))
