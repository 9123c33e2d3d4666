import { createCatalog } from '../../src/catalog.ts';
import { vendors } from '../../src/gateways/index.ts';
import { toyGateway } from './toy-gateway/vendor.ts';

/** What is built in, and the toys: one line each. */
export const toysCatalog = createCatalog({ vendors: [...vendors, toyGateway] });
