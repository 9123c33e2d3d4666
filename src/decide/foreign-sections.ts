import { vendorSectionsOf } from '../api/gateway-upstream.ts';
import type { GatewayFacts, Unsupported } from '../model/gateway.ts';

/** The sections of a spec for other types of gateways, which would be accepted but ignored. */
export function foreignSections(
  spec: object,
  { type, section }: Pick<GatewayFacts, 'type' | 'section'>,
): readonly Unsupported[] {
  return vendorSectionsOf(spec)
    .filter((other) => other !== section)
    .map((other) => ({ field: `spec.${other}`, message: `a gateway of type ${type} ignores it` }));
}
