import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ItemScanner,
  NotJsonError,
  NotObjectsError,
  parseJson,
} from '../../../../src/runtime/http/item-scanner.ts';

/** The members that lead to the items, as a path; `root`: the response itself is the list. */
type ItemsAt = 'list' | 'root' | 'app.list';

/** The result of scanning `bytes` in chunks that end at `cuts`. */
function scan(bytes: Buffer, at: ItemsAt = 'list', cuts: readonly number[] = []) {
  const items: unknown[] = [];
  const scanner = new ItemScanner(
    (item) => items.push(parseJson(item)),
    at === 'root' ? undefined : at.split('.'),
  );
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  for (const [index, end] of [...ends, bytes.length].entries()) {
    scanner.push(Buffer.from(bytes.subarray(ends[index - 1] ?? 0, end)));
  }
  return { items, rest: scanner.end() };
}

const scanned = (text: string, at: ItemsAt = 'list') => scan(Buffer.from(text), at);

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\\', '"', '[{', '}],', '"list":[', 'ü€😀'),
);
/** Without escapes: the V8 of Node 24 confuses names of equal length if they contain an escape. */
const name = fc.oneof(fc.stringMatching(/^[\w[\]{}:, ]{0,8}$/), fc.constantFrom('[{', '}],', 'ü€😀'));
const value = fc.oneof(
  text,
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.array(text),
  fc.dictionary(name, text),
);
const items = fc.array(fc.dictionary(name, value), { maxLength: 8 });
const spaces = fc.constantFrom(undefined, 1, '\t');
const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe('item scanner', () => {
  it('returns the items of a list and the rest, however the list is split into chunks', () => {
    const others = fc.dictionary(
      name.filter((one) => one !== 'list'),
      value,
    );
    fc.assert(
      fc.property(items, others, others, spaces, cuts, (list, before, after, indent, ends) => {
        const whole = Object.entries({ ...before, list, ...after });
        const body = Buffer.from(JSON.stringify(Object.fromEntries(whole), null, indent));
        const expected = JSON.parse(body.toString()) as { readonly list: readonly unknown[] };
        const { items: given, rest } = scan(body, 'list', ends);
        expect(given).toEqual(expected.list);
        expect(rest).toEqual({ ...expected, list: [] });
      }),
      { numRuns: 500 },
    );
  });

  it('returns the items of a response that is the list itself', () => {
    fc.assert(
      fc.property(items, spaces, cuts, (list, indent, ends) => {
        const body = Buffer.from(JSON.stringify(list, null, indent));
        expect(scan(body, 'root', ends)).toEqual({ items: JSON.parse(body.toString()), rest: [] });
      }),
      { numRuns: 500 },
    );
  });

  it.each<[string, ItemsAt, unknown]>([
    ['{"list":{},"total":0}', 'list', { list: {}, total: 0 }],
    ['{"list":[],"total":0}', 'list', { list: [], total: 0 }],
    ['{"a":{"list":[{}]}}', 'list', { a: { list: [{}] } }],
    ['{"a":["list",[{}]]}', 'list', { a: ['list', [{}]] }],
    ['{"list":"[{}]"}', 'list', { list: '[{}]' }],
    ['[{"list":[{}]}]', 'list', [{ list: [{}] }]],
    ['7', 'list', 7],
    ['{"list":[{}]}', 'app.list', { list: [{}] }],
    ['{"app":[{"list":[{}]}]}', 'app.list', { app: [{ list: [{}] }] }],
    ['{"app":{"x":{"list":[{}]}},"list":[{}]}', 'app.list', { app: { x: { list: [{}] } }, list: [{}] }],
    ['{"x":{"app":{"list":[{}]}}}', 'app.list', { x: { app: { list: [{}] } } }],
    ['{"app":"{","list":[{}]}', 'app.list', { app: '{', list: [{}] }],
    ['{}', 'root', {}],
    ['{"a":[{}]}', 'root', { a: [{}] }],
  ])('finds no items in %s (%s)', (body, at, rest) => {
    expect(scanned(body, at)).toEqual({ items: [], rest });
  });

  it('finds the items of a list inside an object, however the response is split into chunks', () => {
    const others = fc.dictionary(
      name.filter((one) => one !== 'list' && one !== 'app'),
      value,
    );
    fc.assert(
      fc.property(items, others, others, spaces, cuts, (list, before, after, indent, ends) => {
        const app = Object.fromEntries(Object.entries({ ...before, list, ...after }));
        const body = Buffer.from(JSON.stringify({ ...after, app, ...before }, null, indent));
        const expected = JSON.parse(body.toString()) as {
          readonly app: { readonly list: readonly unknown[] };
        };
        const { items: given, rest } = scan(body, 'app.list', ends);
        expect(given).toEqual(expected.app.list);
        expect(rest).toEqual({ ...expected, app: { ...expected.app, list: [] } });
      }),
      { numRuns: 500 },
    );
  });

  it.each(['a', 'items', 'application-instances', 'with "quotes"'])(
    'finds the items in the member %j',
    (member) => {
      const others = [`${member}s`, member.slice(0, -1), `x${member}`];
      const body = {
        ...Object.fromEntries(others.map((other) => [other, [{ n: 0 }]])),
        [member]: [{ n: 1 }],
      };
      const found: unknown[] = [];
      const scanner = new ItemScanner((item) => found.push(parseJson(item)), [member]);
      scanner.push(Buffer.from(JSON.stringify(body)));
      expect(scanner.end()).toEqual({ ...body, [member]: [] });
      expect(found).toEqual([{ n: 1 }]);
    },
  );

  it('leaves items that it does not recognize in the rest', () => {
    // A name with an escape, and a second list.
    expect(scanned('{"\\u006cist":[{"a":1}]}')).toEqual({ items: [], rest: { list: [{ a: 1 }] } });
    expect(scanned('{"list":[{"a":1}],"list":[{"a":2}]}')).toEqual({
      items: [{ a: 1 }],
      rest: { list: [{ a: 2 }] },
    });
  });

  it.each([
    '',
    '{',
    '{"list":[',
    '{"list":[{}',
    '{"list":[{}]',
    '{"list":[{},',
    '{"list":[{"a":"',
    '<html></html>',
    '{"list":[{"a":}]}',
    '{"list":[{]}}',
  ])('rejects "%s" as invalid JSON', (body) => {
    expect(() => scanned(body)).toThrow(NotJsonError);
  });

  it.each(['{"list":[1]}', '{"list":[{},]}', '{"list":[,{}]}', '{"list":[{}{}]}', '{"list":["a"]}'])(
    'rejects %s because an item is not an object',
    (body) => {
      expect(() => scanned(body)).toThrow(NotObjectsError);
    },
  );

  it('rejects invalid UTF-8', () => {
    expect(() =>
      scan(Buffer.concat([Buffer.from('{"list":[{"a":"'), Buffer.from([0xff]), Buffer.from('"}]}')])),
    ).toThrow(NotJsonError);
  });

  it('limits the size of the response outside the items', () => {
    const scanner = new ItemScanner(() => undefined, ['list']);
    const push = () => {
      for (let n = 0; n < 100; n += 1) scanner.push(Buffer.alloc(1024, ' '));
    };
    expect(push).toThrow(NotJsonError);
  });
});
