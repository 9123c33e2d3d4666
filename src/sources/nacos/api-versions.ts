import { z } from 'zod';
import { nacosHost } from './instances.ts';

const hosts = z.array(nacosHost);
const success = z.literal(0);

/** One generation of Nacos' HTTP API. */
export interface ApiVersion {
  readonly name: 'v3' | 'v2' | 'v1';
  /** Of the list of a service's instances, after the context path. */
  readonly path: string;
  /** Of the login, after the context path. */
  readonly loginPath: string;
  /** The hosts in an answer of status 200. */
  readonly answer: z.ZodType<z.output<typeof hosts>>;
}

/** The newest first. Nacos 3.2 removed v1 and v2; v3 exists since 3.0 and v2 since 2.2. */
export const API_VERSIONS: readonly [ApiVersion, ...ApiVersion[]] = [
  {
    name: 'v3',
    path: '/v3/client/ns/instance/list',
    loginPath: '/v3/auth/user/login',
    answer: z.object({ code: success, data: hosts }).transform(({ data }) => data),
  },
  {
    name: 'v2',
    path: '/v2/ns/instance/list',
    loginPath: '/v1/auth/login',
    answer: z.object({ code: success, data: z.object({ hosts }) }).transform(({ data }) => data.hosts),
  },
  {
    name: 'v1',
    path: '/v1/ns/instance/list',
    loginPath: '/v1/auth/login',
    answer: z.object({ hosts }).transform((body) => body.hosts),
  },
];
