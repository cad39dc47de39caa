/* From floating weights to codes. */
#ifndef APQ_WEIGHTS_QUANTIZE_H
#define APQ_WEIGHTS_QUANTIZE_H

#include "apq.h"

/* Quantizes desc->data (host memory, [n][ld], a floating type) per channel or per `group` (0, or as
 * in apq_weights).  New memory for apq__free: codes [n][k]; scales and zeros [n][groups], zeros
 * NULL unless the format is UINT.  OUT_OF_MEMORY. */
apq_status apq__weights_quantize(const apq_weights_desc *desc, const void *data, int group,
                                 uint8_t **codes, float **scales, int32_t **zeros,
                                 apq_error *error);

#endif
