//! What has to happen at one moment: scripts, which the server runs without anything in between.

use std::sync::LazyLock;

use ::redis::Script;

/// KEYS: the key. ARGV: what is added, `signed` or `unsigned`, the time to live in milliseconds. The sum goes back as
/// text: a number in a script has 53 bits.
pub(super) static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local current = redis.call('GET', KEYS[1])
        if ARGV[2] == 'unsigned' and current and string.sub(current, 1, 1) == '-' then
            return redis.error_reply('ERR value is not an integer without sign')
        end
        redis.call('INCRBY', KEYS[1], ARGV[1])
        if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
        return redis.call('GET', KEYS[1])
        ",
    )
});

/// KEYS: the key. The version and the value go back, or nothing.
pub(super) static SNAPSHOT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local current = redis.call('GET', KEYS[1])
        if not current then return false end
        return { redis.sha1hex(current), current }
        ",
    )
});

/// KEYS: the key. ARGV: the version that has to be there, empty for none; the value; the time to live in milliseconds.
/// 1 goes back if the value was written.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local current = redis.call('GET', KEYS[1])
        local version = ''
        if current then version = redis.sha1hex(current) end
        if version ~= ARGV[1] then return 0 end
        if ARGV[3] == '0' then
            redis.call('SET', KEYS[1], ARGV[2])
        else
            redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        end
        return 1
        ",
    )
});
