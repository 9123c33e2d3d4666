import { expect, it } from 'vitest';
import { foreignSections } from '../../../src/decide/foreign-sections.ts';
import { toysCatalog } from '../../toys/catalog.ts';

const spec = toysCatalog.schemas.gatewayUpstream.parse({
  backends: [{ serviceRef: { name: 'web', port: 80 } }],
  scheme: 'HTTPS',
  apisix: { overrides: { warm_up_conf: {} } },
});

it('reports the section of another type of gateway', () => {
  expect(foreignSections(spec, toysCatalog.vendor('Toy'))).toEqual([
    { field: 'spec.apisix', message: 'a gateway of type Toy ignores it' },
  ]);
});

it('reports nothing if the gateway reads the section', () => {
  expect(foreignSections(spec, toysCatalog.vendor('APISIX'))).toEqual([]);
});
