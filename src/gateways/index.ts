import type { GatewayFacts } from '../model/gateway.ts';
import type { ApisixOptions } from './apisix/client.ts';
import { apisixFormat, createApisixDriver } from './apisix/driver.ts';
import type { GatewayDriver, GatewayFormat } from './driver.ts';

/** What a driver is made from, by the `type` of its GatewayConnection. */
export type GatewayOptions = { readonly type: 'APISIX' } & ApisixOptions;

type GatewayType = GatewayOptions['type'];

/** One line per vendor. */
const vendors: {
  readonly [T in GatewayType]: {
    readonly create: (options: Extract<GatewayOptions, { type: T }>) => GatewayDriver;
    readonly format: GatewayFormat;
  };
} = {
  APISIX: { create: createApisixDriver, format: apisixFormat },
};

/** Throws an `Error` that says what is wrong with the options. */
export function createGatewayDriver(options: GatewayOptions): GatewayDriver {
  return vendors[options.type].create(options);
}

/** What decisions depend on of the gateways of this type. */
export function vendorOf(type: GatewayType): GatewayFacts {
  return vendors[type];
}

export function gatewayFormat(type: GatewayType): GatewayFormat {
  return vendors[type].format;
}
