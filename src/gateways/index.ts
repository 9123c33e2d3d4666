import { apisix } from './apisix/vendor.ts';
import type { Vendor } from './vendor.ts';

/** The built-in gateway types. */
export const vendors: readonly Vendor[] = [apisix];
