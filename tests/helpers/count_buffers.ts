/** Buffers made on a device and not yet destroyed, counted from now on. */
export function countBuffers(device: GPUDevice): { alive: number; made: number } {
  const count = { alive: 0, made: 0 };
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    count.alive++;
    count.made++;
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      count.alive--;
      buffer.destroy = destroy;
      destroy();
    };
    return buffer;
  };
  return count;
}
