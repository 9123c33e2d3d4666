import { apisix } from './apisix/vendor.ts';
import type { Vendor } from './vendor.ts';

/** Every kind of gateway that is built in. */
export const vendors: readonly Vendor[] = [apisix];
