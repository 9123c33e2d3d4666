import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import type { LogLevel } from '../../../src/runtime/log.ts';

const LOG = new URL('../../../src/runtime/log.ts', import.meta.url).href;
const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
/** Part of every value that must not be printed. */
const SECRET = 's3cr3t';

/**
 * Runs `body` in a process and returns the lines that it prints. In `body`, `log` is a log with `level`, `got()` creates an
 * error as an HTTP client does, with the whole request and response, and `levels` has the names of the log's methods.
 */
function printed(body: string, level: LogLevel = 'trace'): readonly Record<string, unknown>[] {
  const script = `
    import { createLog } from '${LOG}';
    const log = createLog('${level}');
    const levels = ${JSON.stringify(LEVELS)};
    const got = () => {
      const options = { headers: { 'x-api-key': '${SECRET}' }, json: { key: '${SECRET}' }, body: '${SECRET}' };
      return Object.assign(new Error('Response code 401 (Unauthorized)'), {
        name: 'HTTPError',
        code: 'ERR_NON_2XX_3XX_RESPONSE',
        options,
        request: { options },
        response: { body: '${SECRET}', headers: { 'set-cookie': '${SECRET}' }, request: { options } },
      });
    };
    ${body}
  `;
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
    encoding: 'utf8',
  });
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('createLog', () => {
  it('prints one JSON object per line, with level and time, and no host or process', () => {
    const [line, ...others] = printed(`log.info({ connection: 'edge' }, 'working');`);
    expect(others).toEqual([]);
    expect(line).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      connection: 'edge',
      msg: 'working',
    });
  });

  it.each<[LogLevel, readonly string[]]>([
    ['trace', LEVELS],
    ['debug', LEVELS],
    ['info', ['info', 'warn', 'error']],
    ['warn', ['warn', 'error']],
    ['error', ['error']],
  ])('with level %s prints %o', (level, expected) => {
    const lines = printed(`for (const level of levels) log[level]({}, level);`, level);
    expect(lines.map((line) => line['level'])).toEqual(expected);
  });

  it('adds the fields of a child log to every line', () => {
    const lines = printed(`
      const child = log.child({ connection: 'edge' });
      for (const level of levels) child[level]({ id: 'x' }, 'm');
    `);
    expect(lines).toHaveLength(LEVELS.length);
    for (const line of lines) expect(line).toMatchObject({ connection: 'edge', id: 'x', msg: 'm' });
  });

  it.each<[string, string]>([
    ['under err', `log[level]({ err: got() }, 'm')`],
    ['as the logged object', `log[level](got(), 'm')`],
    ['as a cause', `log[level]({ err: new Error('outer', { cause: got() }) }, 'm')`],
    [
      'as the cause of a cause',
      `log[level]({ err: new Error('a', { cause: new Error('b', { cause: got() }) }) }, 'm')`,
    ],
    ['in an AggregateError', `log[level]({ err: new AggregateError([got()], 'm') }, 'm')`],
    ['in a child log', `log.child({ err: got() })[level]({}, 'm')`],
  ])('prints no header, key or body of an HTTP error at any level: %s', (_, statement) => {
    const lines = printed(`for (const level of levels) ${statement};`);
    expect(lines).toHaveLength(LEVELS.length);
    expect(JSON.stringify(lines)).not.toContain(SECRET);
  });

  it('prints name, message, stack and causes of an error', () => {
    const [line] = printed(`log.error({ err: new TypeError('outer', { cause: got() }) }, 'm');`);
    expect(line?.['err']).toEqual({
      type: 'TypeError',
      message: 'outer',
      stack: expect.stringContaining('TypeError: outer'),
      cause: {
        type: 'HTTPError',
        message: 'Response code 401 (Unauthorized)',
        stack: expect.stringContaining('Response code 401'),
      },
    });
  });

  it('prints an error that is its own cause', () => {
    const [line] = printed(`
      const err = new Error('round');
      err.cause = err;
      log.error({ err }, 'm');
    `);
    expect(line?.['err']).toMatchObject({ message: 'round', cause: { message: 'round' } });
  });

  it.each(["'text'", '42', 'undefined', 'null', '{ key: 1 }'])('accepts any thrown value: %s', (thrown) => {
    const [line] = printed(`log.error({ err: ${thrown} }, 'm');`);
    expect(line).toMatchObject({ msg: 'm' });
  });

  it.each(['token', 'adminKey', 'headers', 'options', 'authorization'])(
    'redacts %s in every object',
    (name) => {
      const lines = printed(`
      const held = { ${name}: '${SECRET}' };
      for (const level of levels) log[level]({ ...held, one: held, two: { one: held } }, 'm');
    `);
      expect(lines).toHaveLength(LEVELS.length);
      expect(JSON.stringify(lines)).not.toContain(SECRET);
      expect(lines[0]?.[name]).toBe('[redacted]');
    },
  );

  it('redacts key in nested objects, and prints it at the top level, where it is the key of a queue', () => {
    const [line] = printed(`log.error({ key: 'shop/web', secret: { key: '${SECRET}' } }, 'm');`);
    expect(line).toMatchObject({ key: 'shop/web', secret: { key: '[redacted]' } });
  });
});
