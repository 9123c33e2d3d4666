import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { builtInCatalog, createCatalog } from '../../src/catalog.ts';
import { apisix } from '../../src/gateways/apisix/vendor.ts';
import type { Vendor } from '../../src/gateways/vendor.ts';

const other: Vendor = {
  ...apisix,
  type: 'Other',
  section: 'other',
  connectionSchema: z.object({ url: z.string() }),
  requiredFields: 'url',
  upstreamSchema: z.object({ overrides: z.record(z.string(), z.unknown()).optional() }).optional(),
};
const catalog = createCatalog({ vendors: [apisix as Vendor, other] });
const apisixSection = { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } };
const problemsOf = (spec: object) =>
  catalog.schemas.gatewayConnection.safeParse(spec).error?.issues.map(({ message }) => message);

describe('a catalog with two vendors', () => {
  it('adds the sections of both vendors to the CRDs, in the order of the list', () => {
    const [connection, upstream] = catalog.customResources.map((resource) =>
      JSON.stringify(customResourceDefinition(resource)),
    );
    expect(connection).toContain('"enum":["APISIX","Other"]');
    expect(connection).toMatch(/"apisix":\{.*"other":\{.*"idPrefix"/);
    expect(connection).toContain("self.type != 'Other' || has(self.other)");
    expect(upstream).toMatch(/"apisix":\{.*"other":\{.*"removalGuard"/);
    expect(upstream).toContain("self.manage != 'Nodes' || !has(self.other)");
  });

  it('parses the section of the type and finds its vendor', () => {
    const spec = catalog.schemas.gatewayConnection.parse({ type: 'Other', other: { url: 'x', more: 1 } });
    expect(spec).toMatchObject({ type: 'Other', other: { url: 'x' }, limits: { concurrency: 8 } });
    expect(catalog.vendor(spec.type)).toBe(other);
  });

  it('rejects a connection without the section of its type, or with the section of another type', () => {
    expect(problemsOf({ type: 'Other' })).toEqual(['type Other needs the field other with url']);
    expect(problemsOf({ type: 'APISIX', apisix: apisixSection, other: { url: 'x' } })).toEqual([
      'other is allowed only with type Other: remove it',
    ]);
    expect(problemsOf({ type: 'APISIX', apisix: apisixSection })).toBeUndefined();
  });

  it('rejects a type that is not built in', () => {
    expect(builtInCatalog.schemas.gatewayConnection.safeParse({ type: 'Other' }).success).toBe(false);
    expect(() => builtInCatalog.vendor('Other')).toThrow('gateway type Other is not built in');
  });
});
