import { expect, it } from 'vitest';
import { foreignSections } from '../../../src/decide/foreign-sections.ts';
import { toysCatalog } from '../../toys/catalog.ts';

const spec = toysCatalog.schemas.gatewayUpstream.parse({
  backends: [{ serviceRef: { name: 'web', port: 80 } }],
  scheme: 'HTTPS',
  apisix: { overrides: { warm_up_conf: {} } },
});

it('names the section of another kind of gateway, which would be ignored', () => {
  expect(foreignSections(spec, toysCatalog.vendor('Toy'))).toEqual([
    { field: 'spec.apisix', message: 'a gateway of type Toy ignores it' },
  ]);
});

it('names nothing where the gateway reads the section', () => {
  expect(foreignSections(spec, toysCatalog.vendor('APISIX'))).toEqual([]);
});
