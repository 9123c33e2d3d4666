import { z } from 'zod';
import { secretKey, secretName } from '../../../src/api/secret-ref.ts';
import type { Vendor } from '../../../src/gateways/vendor.ts';
import { createToyDriver, toyFormat } from './driver.ts';
import { recordMarks } from './record.ts';

const toyConnection = z
  .object({
    url: z.string().max(512).describe('Address of the configuration server.'),
    tokenSecretRef: z
      .object({ name: secretName.describe('Name of the Secret.'), key: secretKey.default('token') })
      .describe("Secret with the token, in the operator's namespace."),
  })
  .describe('A gateway whose data planes fetch their configuration.');

/** A pull-type gateway without labels, which differs from APISIX as much as a vendor can. */
export const toyGateway: Vendor<
  z.output<typeof toyConnection>,
  { readonly url: string; readonly token: string }
> = {
  type: 'Toy',
  section: 'toy',
  connectionSchema: toyConnection,
  requiredFields: 'url and tokenSecretRef',
  secretRefs: ({ tokenSecretRef }) => [tokenSecretRef],
  settings: ({ url, tokenSecretRef }, secretValue) => ({ url, token: secretValue(tokenSecretRef) }),
  createDriver: createToyDriver,
  format: toyFormat,
  ownership: recordMarks,
  limits: { oldestMajorVersion: 1 },
};
