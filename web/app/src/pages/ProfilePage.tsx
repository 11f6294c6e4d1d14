import { type ApiError, useUserProfile } from "cubby-client";
import { useState } from "react";

import { Notice } from "../components/Notice.tsx";
import { Spinner } from "../components/Spinner.tsx";
import { When } from "../components/When.tsx";

export function ProfilePage() {
  const { profile, refreshProfile, error } = useUserProfile();
  const [message, setMessage] = useState("");

  const refresh = () => {
    setMessage("Refreshing…");
    refreshProfile().then(
      () => setMessage("Your profile is up to date."),
      (error: ApiError) => setMessage(`Couldn't refresh your profile. ${error.message}`),
    );
  };

  return (
    <>
      <title>Your Profile · Cubby</title>
      <h1>Your Profile</h1>
      {error && <Notice onRetry={refresh}>{error.message}</Notice>}
      {profile ? (
        <section className="card" aria-label="Profile">
          {profile.imageUrl && <img className="picture" src={profile.imageUrl} alt="" width={72} height={72} />}
          <dl>
            <dt>Name</dt>
            <dd>{[profile.firstName, profile.lastName].filter(Boolean).join(" ") || "–"}</dd>
            <dt>Email address</dt>
            <dd>{profile.email ?? "–"}</dd>
            <dt>Member since</dt>
            <dd>
              <When time={profile.createdAt} />
            </dd>
            <dt>Last changed</dt>
            <dd>
              <When time={profile.updatedAt} />
            </dd>
          </dl>
          <button type="button" onClick={refresh}>
            Refresh
          </button>
          <p role="status">{message}</p>
        </section>
      ) : (
        !error && <Spinner label="Loading your profile" />
      )}
    </>
  );
}
