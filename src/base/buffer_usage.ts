/** WebGPU's flags as numbers: not every runtime has them as globals before it has a device. */

/** `GPUBufferUsage`. */
export const MAP_READ = 0x01;
export const COPY_SRC = 0x04;
export const COPY_DST = 0x08;
export const UNIFORM = 0x40;
export const STORAGE = 0x80;
export const QUERY_RESOLVE = 0x200;

/** `GPUMapMode.READ`. */
export const MODE_READ = 0x01;
