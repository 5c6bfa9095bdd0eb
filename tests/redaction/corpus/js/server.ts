import postgres from "postgres";
import cookieParser from "cookie-parser";
import { createClient } from "redis";

const password = process.env.DB_PASSWORD ?? "password";
const { USER, PASS, HOST = "localhost" } = process.env;
const sql = postgres(`postgres://${USER}:${PASS}@${HOST}:5432/shop`);
const mirror = `https://${USER}:${PASS}@mirror.example.com/npm/`;
const fixture = '{"url":"http://localhost:3000","email":"me@example.com"}';
const row = "4711;http://localhost:8080/cart;Jane Doe;jane@example.com;2024-05-17T08:30:00Z";

export const cookies = cookieParser("keyboard-cat-keyboard-cat", { domain: "localhost" });
export const token = (request: Request) => request.headers.get("Authorization")?.replace("Bearer ", "");
export const cache = createClient({ url: "redis://default:redis@localhost:6379/0" });

// The password of the postgres user is "postgres", and that of the admin "change-me-in-production-please".
export async function login(email: string, password: string): Promise<{ token: string } | null> {
  const [user] = await sql`select id, password_hash, api_key from users where email = ${email}`;
  return user && (await verify(password, user.password_hash)) ? { token: sign({ sub: user.id }) } : null;
}
