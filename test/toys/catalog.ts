import { createCatalog } from '../../src/catalog.ts';
import { vendors } from '../../src/gateways/index.ts';
import { registryTypes } from '../../src/sources/index.ts';
import { toyGateway } from './toy-gateway/vendor.ts';
import { toySource } from './toy-source/toy-source.ts';

/** The built-in catalog and the toys, one line each. */
export const toysCatalog = createCatalog({
  vendors: [...vendors, toyGateway],
  registryTypes: [...registryTypes, toySource],
});
