import type { z } from 'zod';

/** What one kind of gateway adds to the custom resources. */
export interface VendorSection {
  /** `spec.type` of a GatewayConnection, for example `APISIX`. */
  readonly type: string;
  /** Its field in the spec of a GatewayConnection, and in that of a GatewayUpstream if it has `upstreamSchema`. */
  readonly section: string;
  readonly connectionSchema: z.ZodType;
  /** The required fields of that section, in the words of a message. */
  readonly requiredFields: string;
  /** What a GatewayUpstream may say to this kind of gateway alone; optional. A connection allows it by `tenantPolicy.overrides`. */
  readonly upstreamSchema?: z.ZodType<UpstreamSection | undefined>;
}

/** What a GatewayUpstream says to one kind of gateway alone. */
export interface UpstreamSection {
  /** Fields in the vendor's own spelling, written as they are. */
  readonly overrides?: Readonly<Record<string, unknown>> | undefined;
}

/** The section of a vendor in the spec of a custom resource, as its schema made it; undefined where there is none. */
export function sectionOf(spec: object, section: string): unknown {
  return (spec as Readonly<Record<string, unknown>>)[section];
}

/** As `sectionOf`, of the spec of a GatewayUpstream. */
export function upstreamSectionOf(spec: object, section: string): UpstreamSection | undefined {
  return sectionOf(spec, section) as UpstreamSection | undefined;
}
