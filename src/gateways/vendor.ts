import type { z } from 'zod';
import type { VendorSection } from '../api/vendor-section.ts';
import type { GatewayDriver, GatewayFormat } from './driver.ts';
import type { OwnershipMarks } from './ownership.ts';

/** An entry of a Secret in the operator's own namespace. */
export interface SecretKeyRef {
  readonly name: string;
  readonly key: string;
}

/** What the operator allows every driver. */
export interface DriverLimits {
  /** Requests at once. */
  readonly concurrency: number;
  readonly requestTimeoutMs: number;
  /** A driver that sends several requests for one write asks right before each of those that write. */
  readonly mayWrite?: () => boolean;
}

/** Where the data planes of a gateway are asked what they serve. */
export type DataPlaneAddresses =
  | { readonly kind: 'urls'; readonly urls: readonly string[] }
  | {
      readonly kind: 'service';
      readonly service: {
        readonly namespace: string;
        readonly name: string;
        readonly port: number | string;
      };
      /** Where the reference is written, e.g. `spec.apisix.controlApi.serviceRef`. */
      readonly field: string;
    };

/** The limits of a kind of gateway that the platform team may meet. */
export interface VendorLimits {
  /** Older major versions are not supported. */
  readonly oldestMajorVersion: number;
}

/**
 * One kind of gateway: everything that the rest of the program knows of it. `Section` is what `connectionSchema` makes
 * of the section of a GatewayConnection, `Settings` what a driver is made from: plain data that JSON can hold, since a
 * connection is opened anew when its settings differ.
 */
export interface Vendor<Section = unknown, Settings extends object = object> extends VendorSection {
  readonly connectionSchema: z.ZodType<Section>;

  /** Every entry of a Secret that the section refers to. A connection is usable once all of them exist. */
  secretRefs(section: Section): readonly SecretKeyRef[];

  /** What a driver is made from. `secretValue` gives the value of an entry that `secretRefs` names. */
  settings(section: Section, secretValue: (ref: SecretKeyRef) => string): Settings;

  /** Throws an `Error` that says what is wrong with the settings. */
  createDriver(settings: Settings & DriverLimits): GatewayDriver;

  /** Where the data planes are asked; undefined: they are not. Absent where the gateway has no data planes with addresses. */
  dataPlanes?(section: Section): DataPlaneAddresses | undefined;

  readonly format: GatewayFormat;
  readonly ownership: OwnershipMarks;
  readonly limits: VendorLimits;
}
