/*
 * A Vulkan layer for Mesa's RADV without a GPU. With RADV_FORCE_FAMILY the driver compiles for a chip that is not there, but
 * has no queue to submit to, and Dawn fills buffers before it compiles. The layer answers whatever has to do with command
 * buffers and queues: done. Nothing runs.
 *
 * The structures are those of the loader's interface (vk_layer.h), as far as they are read, so that no headers are needed.
 */
typedef void (*Function)(void);
typedef Function (*Get)(void *object, const char *name);

struct Link { struct Link *next; Get instance_get, device_get; };
/* In a chain of structures, those of the loader's types hold the next layer. */
struct Info { int type; struct Info *next; int function; struct Link *link; };
struct Create { int type; struct Info *chain; };

enum { INSTANCE_INFO = 47, DEVICE_INFO = 48, LAYER_LINK = 0 };

typedef int (*CreateInstance)(const struct Create *, const void *, void **);
typedef int (*CreateDevice)(void *, const struct Create *, const void *, void **);

static Get next_instance_get, next_device_get;
static void *instance;

/* The next layer's functions; the chain goes on behind it. */
static struct Link *take_link(const struct Create *create, int type) {
  struct Info *info = create->chain;
  while (info->type != type || info->function != LAYER_LINK) info = info->next;
  struct Link *link = info->link;
  info->link = link->next;
  return link;
}

static int create_instance(const struct Create *create, const void *allocator, void **created) {
  next_instance_get = take_link(create, INSTANCE_INFO)->instance_get;
  int result = ((CreateInstance)next_instance_get(0, "vkCreateInstance"))(create, allocator, created);
  instance = *created;
  return result;
}

static int create_device(void *physical, const struct Create *create, const void *allocator, void **created) {
  struct Link *link = take_link(create, DEVICE_INFO);
  next_device_get = link->device_get;
  return ((CreateDevice)link->instance_get(instance, "vkCreateDevice"))(physical, create, allocator, created);
}

static int done(void) { return 0; }

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

Function layer_instance_get(void *object, const char *name);
Function layer_device_get(void *object, const char *name);

static const struct { const char *name; Function function; } own[] = {
  {"vkGetInstanceProcAddr", (Function)layer_instance_get},
  {"vkGetDeviceProcAddr", (Function)layer_device_get},
  {"vkCreateInstance", (Function)create_instance},
  {"vkCreateDevice", (Function)create_device},
  {"vkBeginCommandBuffer", (Function)done},
  {"vkEndCommandBuffer", (Function)done},
  {"vkResetCommandPool", (Function)done},
  {"vkCmdPipelineBarrier", (Function)done},
  {"vkCmdFillBuffer", (Function)done},
  {"vkCmdCopyBuffer", (Function)done},
  {"vkQueueSubmit", (Function)done},
  {"vkQueueWaitIdle", (Function)done},
  {"vkDeviceWaitIdle", (Function)done},
  {"vkWaitForFences", (Function)done},
  {"vkResetFences", (Function)done},
  {"vkGetFenceStatus", (Function)done},
};

static Function find(const char *name) {
  for (unsigned i = 0; i < sizeof own / sizeof *own; i++) {
    if (same(name, own[i].name)) return own[i].function;
  }
  return 0;
}

Function layer_instance_get(void *object, const char *name) {
  Function function = find(name);
  return function ? function : next_instance_get(object, name);
}

Function layer_device_get(void *object, const char *name) {
  Function function = find(name);
  return function ? function : next_device_get(object, name);
}
