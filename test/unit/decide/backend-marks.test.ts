import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { gatewayUpstreamSchema } from '../../../src/api/gateway-upstream.ts';
import { backendMarks, backendsMark, unlistedMarks } from '../../../src/decide/backend-marks.ts';
import { backendTargets } from '../../../src/decide/backends.ts';
import { gatewayUpstreamSpec } from '../../support/catalog.ts';

const targets = (...backends: readonly object[]) =>
  backendTargets(gatewayUpstreamSpec.parse({ backends }), 'shop');
const marks = (...backends: readonly object[]) => backendMarks(targets(...backends), true);

const PODS = { serviceRef: { name: 'web', port: 80 } };
const VMS = { registryRef: { name: 'vms' }, service: 'web' };

describe('backendMarks', () => {
  it('gives no marks to an upstream without a registry', () => {
    expect(marks(PODS, { addresses: [{ host: '10.9.0.1', port: 80 }] })).toBeUndefined();
  });

  it('gives no marks if the gateway does not keep them', () => {
    expect(backendMarks(targets(VMS, PODS), false)).toBeUndefined();
  });

  it('marks every backend with a source', () => {
    expect(marks(VMS, PODS, { addresses: [{ host: '10.9.0.1', port: 80 }] })).toEqual([
      expect.stringMatching(/^[0-9a-f]{8}$/),
      expect.stringMatching(/^[0-9a-f]{8}$/),
      undefined,
    ]);
  });

  /** A changed mark rewrites all upstreams with registries, and a restart does not recognize their nodes. */
  it('keeps the same marks in every version', () => {
    expect(marks(VMS, PODS)).toEqual(['cc9ed378', '7d0e6ac1']);
    expect(
      marks(
        { ...VMS, consul: { tags: ['live'], healthy: 'PassingOrWarning', address: 'Wan' } },
        { ...VMS, nacos: { group: 'orders', clusters: ['a'] } },
        { ...VMS, metadata: { version: ['v2'] }, portFrom: { metadata: 'port' } },
      ),
    ).toEqual(['9bd50055', '48a740bf', '12ae0f23']);
  });

  it.each<[string, object]>([
    ['a section without fields', { consul: {} }],
    ['defaults that are stated', { consul: { healthy: 'Passing', address: 'Service' } }],
    ['the default group of Nacos', { nacos: { group: 'DEFAULT_GROUP' } }],
  ])('does not depend on %s', (_, fields) => {
    expect(marks({ ...VMS, ...fields })).toEqual(marks(VMS));
  });

  it('does not depend on a default that is added to the options of a registry type', () => {
    const mark = (backendSchema: z.ZodType, live: object) => {
      const section = { type: 'Vms', section: 'vms', registrySchema: z.object({}), backendSchema };
      const spec = gatewayUpstreamSchema([], [section]).parse({ backends: [{ ...VMS, vms: live }] });
      return backendMarks(backendTargets(spec, 'shop'), true);
    };
    const before = z.object({ tag: z.string().optional() });
    const after = before.extend({ zone: z.string().default('any') });
    for (const options of [{}, { tag: 'live' }]) expect(mark(after, options)).toEqual(mark(before, options));
  });

  it.each<[string, object]>([
    ['weight', { weight: 7 }],
    ['weights', { weights: 'Equal' }],
    ['the order of metadata', { metadata: { a: ['1'], b: ['2'] } }],
  ])('does not depend on %s', (_, fields) => {
    const [plain] = marks(
      'metadata' in fields ? { ...VMS, metadata: { b: ['2'], a: ['1'] } } : VMS,
      PODS,
    ) ?? [''];
    expect(marks(PODS, { ...VMS, ...fields })?.[1]).toBe(plain);
  });

  it.each<[string, object]>([
    ['registry', { registryRef: { name: 'other' } }],
    ['service', { service: 'api' }],
    ['metadata', { metadata: { version: ['v2'] } }],
    ['portFrom', { portFrom: { metadata: 'port' } }],
    ['options', { consul: { tags: ['live'] } }],
  ])('depends on %s', (_, fields) => {
    const [plain, other] = marks(VMS, { ...VMS, ...fields }) ?? [];
    expect(other).not.toBe(plain);
  });
});

describe('backendsMark', () => {
  const unlistedAt =
    (...indexes: readonly number[]) =>
    (index: number) =>
      indexes.includes(index);
  const mark = (backends: readonly object[], ...unlisted: readonly number[]) =>
    backendsMark(targets(...backends), true, unlistedAt(...unlisted));
  const read = (backends: readonly object[], written: string | undefined) =>
    unlistedMarks(targets(...backends), marks(...backends) ?? [], written);

  it('does not depend on the order and the positive weights of backends', () => {
    expect(mark([VMS, { ...PODS, weight: 3 }])).toBe(mark([PODS, VMS]));
    expect(mark([VMS, PODS], 0)).toBe(mark([PODS, VMS], 1));
  });

  it('depends on which backends can receive traffic', () => {
    expect(mark([VMS, { ...PODS, weight: 0 }])).not.toBe(mark([VMS, PODS]));
    expect(mark([VMS, { ...PODS, weight: 0 }])).toBe(mark([VMS]));
  });

  it('shows which backends the registry has never listed', () => {
    const others = Array.from({ length: 15 }, (_, index) => ({ ...VMS, service: `other-${index}` }));
    const backends = [VMS, ...others];
    const all = marks(...backends) ?? [];
    for (const unlisted of [[], [0], [3, 7], [...backends.keys()]]) {
      expect(read(backends, mark(backends, ...unlisted))).toEqual(new Set(unlisted.map((at) => all[at])));
    }
    expect(mark(backends, ...backends.keys())).toHaveLength(13);
  });

  it('does not depend on other backends', () => {
    expect(read([VMS, PODS], mark([VMS]))).toBeUndefined();
    expect(read([VMS, PODS], undefined)).toBeUndefined();
    expect(read([VMS], `${mark([VMS])}.12345`)).toBeUndefined();
  });

  it('is absent without a registry', () => {
    expect(mark([PODS])).toBeUndefined();
  });
});
