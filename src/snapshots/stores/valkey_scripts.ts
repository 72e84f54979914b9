/** What a server does at once, in Lua. */

/**
 * Sets fields of an unfinished entry, `KEYS[1]`. `ARGV`: milliseconds until it is dropped if nobody
 * goes on, then names and values.
 */
export const WRITE = `\
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return redis.call('PEXPIRE', KEYS[1], ARGV[1])`;

/**
 * Renames an unfinished entry, `KEYS[1]`, to its name, `KEYS[2]`, and frees the one before, which
 * must be this store's. `ARGV`: number of fields, milliseconds until it is dropped or 0.
 */
export const COMMIT = `\
if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[1]) then
  return redis.error_reply('ERR parts of it were dropped before it was whole')
end
if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('HEXISTS', KEYS[2], 'id') == 0 then
  return redis.error_reply('ERR its name is in use for something else')
end
if ARGV[2] == '0' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
redis.call('UNLINK', KEYS[2])
return redis.call('RENAME', KEYS[1], KEYS[2])`;

/** Deletes an entry of this store, `KEYS[1]`. Returns how many there were. */
export const REMOVE = `\
if redis.call('HEXISTS', KEYS[1], 'id') == 0 then return 0 end
return redis.call('UNLINK', KEYS[1])`;
