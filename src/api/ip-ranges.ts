import { z } from 'zod';
import { parseIpRange } from './ip-address.ts';
import { celMatches, withRules } from './schema.ts';

/** Accepts more than valid IPv6; `parseIpRange` checks it exactly. */
const ipRange =
  /^((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}\/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F]*:[0-9a-fA-F:.]*\/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$/;

/** An optional list of address ranges in CIDR notation. */
export const ipRanges = z
  .array(
    withRules(z.string().max(49), [
      {
        rule: celMatches('self', ipRange),
        message: 'must be a range in CIDR notation, for example 127.0.0.0/8 or fe80::/10',
        holds: (value) => parseIpRange(value) !== undefined,
      },
    ]),
  )
  .max(64)
  .optional()
  .meta({ 'x-kubernetes-list-type': 'atomic' });
