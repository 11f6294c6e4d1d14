import { Link, useLocation } from "wouter";

const PAGES = [
  { path: "/", name: "Your Chats" },
  { path: "/profile", name: "Your Profile" },
];

export function Sidebar() {
  const [location] = useLocation();
  return (
    <nav aria-label="Pages">
      <ul>
        {PAGES.map(({ path, name }) => (
          <li key={path}>
            <Link href={path} aria-current={location === path ? "page" : undefined}>
              {name}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}
