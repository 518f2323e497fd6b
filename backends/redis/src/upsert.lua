-- Makes way for an item: deletes what is older. What is as new, or has a version that this cannot tell for certain,
-- it returns instead. KEYS[1] is the hash. ARGV: the item's key, its version, and a text that the caller knows to be
-- older or no item. With a fourth, the item's text, it stores that too.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored and stored ~= ARGV[3] then
    -- A quote without a backslash before it, so this is a name or a value and no part of a text. It is the
    -- item's own name if behind it nothing ends but the item, or if before it nothing has begun but the item.
    -- The Relay and most SDKs write it near the end, others first.
    local version
    local at = string.find(stored, '"version"', -256, true)
    if at and string.byte(stored, at - 1) ~= 92 then
        version = string.match(stored, '^"version"%s*:%s*(%d+)%f[,}%s][^{}]*}%s*$', at)
    end
    if not version then
        local nested = string.find(stored, '{', 2, true)
        at = string.find(stored, '"version"', 1, true)
        if at and string.byte(stored, at - 1) ~= 92 and not (nested and nested < at) then
            version = string.match(stored, '^"version"%s*:%s*(%d+)%f[,}%s]', at)
        end
    end
    if not version or tonumber(version) >= tonumber(ARGV[2]) then return stored end
end
if ARGV[4] then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
elseif stored then
    redis.call('HDEL', KEYS[1], ARGV[1])
end
return false
