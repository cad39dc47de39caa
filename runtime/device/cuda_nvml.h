/* Clocks and throttling from NVML, the management library that comes with the driver. */
#ifndef APQ_CUDA_NVML_H
#define APQ_CUDA_NVML_H

#include "device.h"

/* State of the GPU at this PCI address ("0000:1b:00.0"); a field that NVML does not give stays 0.
 * Thread safe; the library is loaded on the first call and is optional. */
void apq__nvml_state(const char *bus_id, apq__clock_state *out);

#endif
