// tutti/expert.h by itself, in the oldest C++ that it is for.
#include "tutti/expert.h"
