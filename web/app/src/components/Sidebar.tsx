import { Link, useLocation } from "wouter";

const PLACES = [
  { path: "/", name: "Your Chats" },
  { path: "/profile", name: "Your Profile" },
];

export function Sidebar() {
  const [location] = useLocation();
  return (
    <nav aria-label="Places">
      <ul>
        {PLACES.map(({ path, name }) => (
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
